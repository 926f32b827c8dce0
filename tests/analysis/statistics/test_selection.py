"""Correction of the best trial's score for its selection."""

from typing import Any

import numpy as np
import pytest

from tests.analysis.statistics.sample_factory import study
from tune_bio.analysis.statistics import Selection, corrected_selection
from tune_bio.analysis.statistics.scoring import METRICS, score
from tune_bio.errors import StatisticsError


def trials(
    count: int, seed: int, distance: float = 0.0, patients: int = 60
) -> tuple[Any, Any, Any]:
    """Return trials of equal true performance on the same patients, with independent noise."""
    case, rng = study(seed, patients), np.random.default_rng(seed)
    scores = rng.normal(size=(count, len(case.labels))) + distance * (case.labels - 0.5)
    p = 1 / (1 + np.exp(-scores))
    return case.labels, np.stack([1 - p, p], axis=2), case.patients


def corrected(labels: Any, p: Any, patients: Any, metric: str, **changes: Any) -> Selection:
    kwargs = {"positive": 1, "seed": 0, "resamples": 300} | changes
    return corrected_selection(labels, p, patients, metric, **kwargs)


@pytest.mark.parametrize("metric", METRICS)
def test_the_best_of_many_uninformative_trials_is_corrected(metric: str) -> None:
    labels, p, patients = trials(30, 1)
    selection = corrected(labels, p, patients, metric)
    own = [score(metric, labels, q, 1) for q in p]
    lower_is_better = metric in ("loss", "brier")
    assert selection.selected == (np.argmin(own) if lower_is_better else np.argmax(own))
    assert selection.score == own[selection.selected]
    assert selection.optimism == pytest.approx(
        (selection.value - selection.score) * (1 if lower_is_better else -1)
    )
    assert selection.optimism > 0
    assert selection.low < selection.value < selection.high
    if metric in ("accuracy", "balanced_accuracy", "auroc"):
        assert selection.score > 0.55
        assert selection.value == pytest.approx(0.5, abs=0.04)


def test_one_trial_has_no_optimism() -> None:
    labels, p, patients = trials(1, 2, distance=1.5)
    selection = corrected(labels, p, patients, "auroc", resamples=1000)
    assert selection.optimism == pytest.approx(0, abs=0.01)


def test_a_trial_that_is_best_by_far_has_no_optimism() -> None:
    labels, p, patients = trials(20, 3)
    good = study(3, 60, 2.0).probabilities
    selection = corrected(labels, np.concatenate([p, good[None]]), patients, "auroc")
    assert selection.selected == 20
    assert selection.optimism == pytest.approx(0, abs=0.02)


def test_patients_are_drawn_whole() -> None:
    labels, p, patients = trials(10, 4, distance=1.0)
    single = corrected(labels, p, patients, "auroc")
    repeated = corrected(
        np.repeat(labels, 3), np.repeat(p, 3, axis=1), np.repeat(patients, 3), "auroc"
    )
    assert (repeated.value, repeated.low, repeated.high) == pytest.approx(
        (single.value, single.low, single.high)
    )
    independent = corrected(
        np.repeat(labels, 3), np.repeat(p, 3, axis=1), np.arange(3 * len(labels)), "auroc"
    )
    assert independent.high - independent.low < 0.8 * (single.high - single.low)


def test_too_few_patients_and_no_trials_are_refused() -> None:
    labels, p, _ = np.array([0, 1] * 4), np.full((2, 8, 2), 0.5), None
    with pytest.raises(StatisticsError, match="too few to correct"):
        corrected(labels, p, np.array([0, 1] * 4), "auroc")
    with pytest.raises(StatisticsError, match="no trial to select from"):
        corrected(labels, p[:0], np.arange(8), "auroc")
