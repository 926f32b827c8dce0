"""Choice of the operating point on validation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from tune_bio.analysis.statistics.operating_point import choose_threshold


def _rates(
    labels: np.ndarray, probabilities: np.ndarray, positive: int, threshold: float
) -> tuple[float, float]:
    called = probabilities[:, positive] >= threshold
    (tn, fp), (fn, tp) = confusion_matrix(labels == positive, called, labels=[False, True])
    return tp / (tp + fn), tn / (tn + fp)


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(2, 40))
    labels = np.array([0, 1, *draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))])
    steps = draw(st.lists(st.integers(0, 20), min_size=len(labels), max_size=len(labels)))
    positive = np.array(steps) / 20
    return labels, np.stack([1 - positive, positive], axis=1)


@settings(max_examples=30)
@given(scored(), st.integers(0, 1))
def test_no_threshold_has_a_larger_youden_index(
    data: tuple[np.ndarray, np.ndarray], positive: int
) -> None:
    labels, probabilities = data
    chosen = sum(_rates(labels, probabilities, positive, choose_threshold(*data, positive)))
    for threshold in np.linspace(-0.01, 1.01, 103):
        assert sum(_rates(labels, probabilities, positive, threshold)) <= chosen + 1e-12


@settings(max_examples=30)
@given(scored(), st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_a_required_sensitivity_is_reached_at_the_best_specificity(
    data: tuple[np.ndarray, np.ndarray], required: float
) -> None:
    labels, probabilities = data
    sensitivity, specificity = _rates(*data, 1, choose_threshold(*data, 1, required))
    assert sensitivity >= required
    for threshold in np.linspace(-0.01, 1.01, 103):
        other = _rates(labels, probabilities, 1, threshold)
        assert other[0] < required or other[1] <= specificity


def test_the_threshold_is_between_two_scores() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9]])
    assert choose_threshold(np.array([0, 0, 1, 1]), probabilities, 1) == pytest.approx(0.6)


def test_scores_that_point_the_wrong_way_call_nothing_positive() -> None:
    probabilities = np.array([[0.1, 0.9], [0.9, 0.1]])
    threshold = choose_threshold(np.array([0, 1]), probabilities, 1)
    assert (probabilities[:, 1] < threshold).all()


def test_the_highest_threshold_is_chosen_among_equal_indices_despite_rounding() -> None:
    labels, scores = np.array([0, 1, 0, 1, 0, 1]), np.arange(1, 7) / 10
    # At 0.6, 0.4 and 0.2 the index is 1/3: 1/3 - 0, 2/3 - 1/3 and 1 - 2/3.
    threshold = choose_threshold(labels, np.stack([1 - scores, scores], axis=1), 1)
    assert threshold == pytest.approx(0.55)


@pytest.mark.parametrize("seed", range(5))
def test_a_threshold_above_all_scores_stays_above_recomputed_scores(seed: int) -> None:
    """A constant predictor in float32, whose rows do not sum to exactly 1."""
    rng = np.random.default_rng(seed)
    for logit in rng.normal(0, 6, 100).astype(np.float32):
        row = np.exp(np.array([0, logit], np.float32) - max(0, logit))
        stored = np.tile(row / row.sum(dtype=np.float32), (4, 1)).astype(np.float64)
        threshold = choose_threshold(np.array([0, 1, 0, 1]), stored, 1)
        recomputed = stored / stored.sum(axis=1, keepdims=True)
        assert not (recomputed[:, 1] >= threshold).any()
        assert not (stored[:, 1] >= threshold).any()


def test_the_lower_of_two_neighbouring_numbers_is_not_called_positive() -> None:
    low = 1 - 2.0**-52
    high = float(np.nextafter(low, 2))
    scores = np.array([low, high])
    threshold = choose_threshold(np.array([0, 1]), np.stack([1 - scores, scores], axis=1), 1)
    assert low < threshold <= high
