"""Comparison of two models on the same images."""

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from tests.analysis.statistics.sample_factory import Case, study
from tune_bio.analysis.statistics import Comparison, compare, holm
from tune_bio.analysis.statistics.scoring import METRICS
from tune_bio.errors import StatisticsError


def compared(case: Case, other: Any, metric: str, **changes: Any) -> Comparison:
    kwargs = {"positive": 1, "seed": 0, "resamples": 400} | changes
    return compare(case.labels, case.probabilities, other, case.patients, metric, **kwargs)


def blurred(case: Case, share: float, seed: int = 0) -> Any:
    """Return the probabilities of the same model with noise."""
    noise = np.random.default_rng(seed).dirichlet(np.ones(case.classes), len(case.labels))
    return (1 - share) * case.probabilities + share * noise


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("classes", [2, 3])
def test_each_metric_distinguishes_a_model_from_noise_but_not_from_itself(
    metric: str, classes: int
) -> None:
    case = study(0, distance=2.5, classes=classes)
    same = compared(case, case.probabilities, metric)
    assert (same.difference, same.p_value) == (0, 1)
    assert np.isnan([same.low, same.high]).all()  # an interval of zero width would promise too much
    assert "no interval" in same.note
    noisy = compared(case, blurred(case, 0.9), metric)
    better = -1 if metric in ("loss", "brier") else 1
    assert noisy.p_value < 0.01
    assert min(better * noisy.low, better * noisy.high) > 0
    assert noisy.low <= noisy.difference <= noisy.high
    assert noisy.difference == pytest.approx(noisy.a - noisy.b)


@pytest.mark.parametrize("metric", METRICS)
def test_swapping_the_models_negates_the_difference(metric: str) -> None:
    case = study(3)
    other = blurred(case, 0.5)
    forward = compared(case, other, metric)
    backward = compared(Case(case.labels, other, case.patients), case.probabilities, metric)
    assert backward.difference == pytest.approx(-forward.difference)
    assert backward.p_value == forward.p_value
    assert (backward.low, backward.high) == pytest.approx((-forward.high, -forward.low))


def test_accuracy_with_one_image_per_patient_is_the_exact_mcnemar_test() -> None:
    labels = np.arange(120) % 2
    wrong_a, wrong_b = np.arange(120) < 4, (np.arange(120) >= 4) & (np.arange(120) < 18)
    a, b = (np.eye(2)[np.where(wrong, 1 - labels, labels)] for wrong in (wrong_a, wrong_b))
    comparison = compare(
        labels, a, b, np.arange(120), "accuracy", positive=1, seed=0, resamples=20_000
    )
    assert comparison.p_value == pytest.approx(binomtest(4, 18).pvalue, abs=0.006)


def test_auroc_agrees_with_all_swaps_of_patients() -> None:
    """Try every swap of a few patients, with models of different scales."""
    case = study(7, patients=8, distance=1.0)
    a, b = case.probabilities, blurred(case, 0.6) ** 3
    b = b / b.sum(axis=1, keepdims=True)
    # Ranks are swapped, so a model's scale must not matter.
    steeper = np.stack([1 - a[:, 1] ** 5, a[:, 1] ** 5], axis=1)
    comparison = compared(case, b, "auroc", resamples=5000)
    rescaled = compare(
        case.labels, steeper, b, case.patients, "auroc", positive=1, seed=0, resamples=5000
    )
    assert rescaled.p_value == comparison.p_value

    def area(scores: Any) -> float:
        x, y = scores[case.labels == 1], scores[case.labels == 0]
        return float(((x[:, None] > y) + 0.5 * (x[:, None] == y)).mean())

    ranks = [np.searchsorted(np.sort(p[:, 1]), p[:, 1]) for p in (a, b)]
    differences = []
    for swap in itertools.product([False, True], repeat=8):
        swapped = np.array(swap)[case.patients]
        differences.append(
            area(np.where(swapped, ranks[1], ranks[0]))
            - area(np.where(swapped, ranks[0], ranks[1]))
        )
    exact = np.mean(np.abs(differences) >= abs(comparison.difference) - 1e-12)
    assert comparison.p_value == pytest.approx(exact, abs=0.03)


def test_copies_of_images_change_nothing() -> None:
    case = study(5, patients=40)
    indices = np.repeat(np.arange(len(case.labels)), 10)
    copied = Case(case.labels[indices], case.probabilities[indices], case.patients[indices])
    other = blurred(case, 0.5)
    single, repeated = (
        compared(case, other, "accuracy"),
        compared(copied, other[indices], "accuracy"),
    )
    assert repeated.p_value == single.p_value
    assert (repeated.low, repeated.high) == pytest.approx((single.low, single.high))


def test_models_with_different_classes_are_refused() -> None:
    case = study(0)
    three = np.full((len(case.labels), 3), 1 / 3)
    with pytest.raises(StatisticsError):
        compared(case, three, "accuracy")
    with pytest.raises(StatisticsError, match="unknown metric"):
        compared(case, case.probabilities, "kappa")


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_holm_agrees_with_its_definition(count: int) -> None:
    p_values = np.random.default_rng(count).random(count).tolist()
    p_values[0] = 0.001
    highest, expected = 0.0, [0.0] * count
    for rank, k in enumerate(sorted(range(count), key=lambda k: p_values[k])):
        highest = max(highest, min(1.0, (count - rank) * p_values[k]))
        expected[k] = highest
    assert holm(p_values) == pytest.approx(expected)


def test_holm_ignores_undefined_p_values() -> None:
    assert holm([0.01, float("nan"), 0.03])[::2] == pytest.approx([0.02, 0.03])
    assert np.isnan(holm([float("nan")])).all()
    assert holm([]) == []
