"""The best of many trials, corrected."""

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
    """Trials of one true performance on shared patients, each with noise of its own."""
    case, rng = study(seed, patients), np.random.default_rng(seed)
    scores = rng.normal(size=(count, len(case.labels))) + distance * (case.labels - 0.5)
    p = 1 / (1 + np.exp(-scores))
    return case.labels, np.stack([1 - p, p], axis=2), case.patients


def corrected(labels: Any, p: Any, patients: Any, metric: str, **changed: Any) -> Selection:
    given = {"positive": 1, "seed": 0, "resamples": 300} | changed
    return corrected_selection(labels, p, patients, metric, **given)


@pytest.mark.parametrize("metric", METRICS)
def test_the_best_of_many_useless_trials_is_found_out(metric: str) -> None:
    labels, p, patients = trials(30, 1)
    found = corrected(labels, p, patients, metric)
    own = [score(metric, labels, each, 1) for each in p]
    lower = metric in ("loss", "brier")
    assert found.selected == (np.argmin(own) if lower else np.argmax(own))
    assert found.score == own[found.selected]
    assert found.optimism == pytest.approx((found.value - found.score) * (1 if lower else -1))
    assert found.optimism > 0
    assert found.low < found.value < found.high
    if metric in ("accuracy", "balanced_accuracy", "auroc"):
        assert found.score > 0.55
        assert found.value == pytest.approx(0.5, abs=0.04)


def test_one_trial_has_no_optimism() -> None:
    labels, p, patients = trials(1, 2, distance=1.5)
    found = corrected(labels, p, patients, "auroc", resamples=1000)
    assert found.optimism == pytest.approx(0, abs=0.01)


def test_a_trial_that_is_far_the_best_is_believed() -> None:
    labels, p, patients = trials(20, 3)
    good = study(3, 60, 2.0).probabilities
    found = corrected(labels, np.concatenate([p, good[None]]), patients, "auroc")
    assert found.selected == 20
    assert found.optimism == pytest.approx(0, abs=0.02)


def test_patients_are_drawn_whole() -> None:
    labels, p, patients = trials(10, 4, distance=1.0)
    once = corrected(labels, p, patients, "auroc")
    often = corrected(
        np.repeat(labels, 3), np.repeat(p, 3, axis=1), np.repeat(patients, 3), "auroc"
    )
    assert (often.value, often.low, often.high) == pytest.approx((once.value, once.low, once.high))
    apart = corrected(
        np.repeat(labels, 3), np.repeat(p, 3, axis=1), np.arange(3 * len(labels)), "auroc"
    )
    assert apart.high - apart.low < 0.8 * (once.high - once.low)


def test_too_few_patients_and_no_trials_are_refused() -> None:
    labels, p, _ = np.array([0, 1] * 4), np.full((2, 8, 2), 0.5), None
    with pytest.raises(StatisticsError, match="too few to correct"):
        corrected(labels, p, np.array([0, 1] * 4), "auroc")
    with pytest.raises(StatisticsError, match="no trial to select from"):
        corrected(labels, p[:0], np.arange(8), "auroc")
