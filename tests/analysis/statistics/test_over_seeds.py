"""Mean scores over seeds, with seeds and patients in the variance."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.analysis.statistics.sample_factory import study
from tune_bio.analysis.statistics import compare_over_seeds, mean_over_seeds
from tune_bio.analysis.statistics.scoring import score
from tune_bio.errors import StatisticsError

KWARGS: dict[str, Any] = {"positive": 1, "seed": 0, "resamples": 300}


def trained(
    seed: int, seeds: int, between: float, patients: int = 60, distance: float = 1.0
) -> tuple[Any, Any, Any]:
    """Return labels, probabilities and patients; `between`: how much seeds differ in separation."""
    case = study(seed, patients, distance)
    logit = np.log(case.probabilities[:, 1] / case.probabilities[:, 0])
    normal = stats.norm.ppf((np.arange(seeds) + 0.5) / seeds)
    luck = between * normal[:, None] * (case.labels - 0.5)
    p = 1 / (1 + np.exp(-(logit + luck)))
    return case.labels, np.stack([1 - p, p], axis=2), case.patients


def width(*study: Any, **kwargs: Any) -> float:
    mean = mean_over_seeds(*study, "auroc", **KWARGS | kwargs)
    return mean.high - mean.low


def test_the_value_is_the_mean() -> None:
    labels, p, patients = trained(0, 4, 0.5)
    for metric in ("auroc", "accuracy", "loss"):
        mean = mean_over_seeds(labels, p, patients, metric, **KWARGS)
        assert mean.value == pytest.approx(np.mean([score(metric, labels, q, 1) for q in p]))
        assert mean.low < mean.value < mean.high
    assert "4 seeds, 60 patients" in mean.note


def test_seeds_and_patients_are_both_in_the_variance() -> None:
    quiet, noisy = trained(0, 4, 0.0), trained(0, 4, 3.0)
    assert width(*trained(0, 4, 0.0, patients=600)) < 0.5 * width(*quiet)
    assert width(*trained(0, 4, 3.0, patients=600)) > 0.7 * width(*noisy)
    # Without noise between seeds, more seeds do not help: the patients are the same.
    assert width(*trained(0, 12, 0.0)) == pytest.approx(width(*quiet), rel=0.05)
    assert width(*noisy) > 1.5 * width(*quiet)
    # With noise between seeds, more seeds help.
    few, many = (trained(0, seeds, 1.0, patients=600) for seeds in (4, 24))
    assert 0 < width(*many) < 0.7 * width(*few)


def test_a_configuration_differs_from_a_worse_one_but_not_from_itself() -> None:
    labels, p, patients = trained(0, 5, 0.3, distance=2.0)
    same = compare_over_seeds(labels, p, p, patients, "auroc", paired=True, **KWARGS)
    assert (same.difference, same.p_value) == (0, 1)
    worse = np.stack([0.5 + 0.02 * (p[:, :, 0] - 0.5), 0.5 + 0.02 * (p[:, :, 1] - 0.5)], axis=2)
    worse += np.random.default_rng(0).normal(0, 0.02, p.shape)
    for paired in (True, False):
        comparison = compare_over_seeds(
            labels, p, worse, patients, "auroc", paired=paired, **KWARGS
        )
        assert comparison.p_value < 0.01
        assert 0 < comparison.low < comparison.difference < comparison.high


def test_pairing_removes_the_variance_that_seeds_share() -> None:
    labels, p, patients = trained(0, 6, 1.5)
    noise = np.random.default_rng(1).normal(0, 0.3, p.shape[:2])
    odds = np.exp(np.log(p[:, :, 1] / p[:, :, 0]) + noise)
    other = np.stack([1 / (1 + odds), odds / (1 + odds)], axis=2)
    comparisons = {
        paired: compare_over_seeds(labels, p, other, patients, "auroc", paired=paired, **KWARGS)
        for paired in (True, False)
    }
    widths = {
        paired: comparison.high - comparison.low for paired, comparison in comparisons.items()
    }
    assert comparisons[True].difference == pytest.approx(comparisons[False].difference)
    assert widths[True] < 0.6 * widths[False]


def test_too_few_seeds_are_refused() -> None:
    labels, p, patients = trained(0, 3, 0.1)
    with pytest.raises(StatisticsError, match="1 seed does not give a variance"):
        mean_over_seeds(labels, p[:1], patients, "auroc", **KWARGS)
    with pytest.raises(StatisticsError, match="3 and 2 seeds cannot be paired"):
        compare_over_seeds(labels, p, p[:2], patients, "auroc", paired=True, **KWARGS)


def test_the_interval_covers_the_mean_of_all_seeds_and_patients() -> None:
    """A mean loss with a known true value, to which seeds and patients add normal noise."""
    covered, studies = 0, 200
    for seed in range(studies):
        rng = np.random.default_rng(seed)
        of_seeds, of_patients = rng.normal(0, 0.15, (4, 1)), rng.normal(0, 0.8, 40)
        own = rng.normal(0, 0.3, (4, 40))
        loss = np.repeat(2.0 + of_seeds + of_patients + own, 2, axis=1)
        labels, codes = np.tile([0, 1], 40), np.repeat(np.arange(40), 2)
        right = np.exp(-np.clip(loss, 0.01, None))
        p = np.where(labels == 1, [1 - right, right], [right, 1 - right]).transpose(1, 2, 0)
        mean = mean_over_seeds(labels, p, codes, "loss", positive=1, seed=seed, resamples=200)
        covered += mean.low <= 2.0 <= mean.high
    assert stats.binomtest(covered, studies, 0.95).pvalue > 0.001


def test_a_difference_without_variance_has_no_interval_and_a_positive_p_value() -> None:
    labels, patients = np.array([0, 1] * 3), np.arange(6)
    right = np.tile(np.eye(2)[labels] * 0.8 + 0.1, (3, 1, 1))
    blind = np.full((3, 6, 2), 0.5)
    comparison = compare_over_seeds(labels, right, blind, patients, "auroc", **KWARGS)
    assert comparison.difference == 0.5
    assert np.isnan([comparison.low, comparison.high]).all()
    assert comparison.p_value == 2.0**-5  # the smallest that six patients allow
    assert "no seed and no patient changes it" in comparison.note
    same = compare_over_seeds(labels, right, right, patients, "auroc", **KWARGS)
    assert (same.difference, same.p_value) == (0, 1)
    mean = mean_over_seeds(labels, right, patients, "auroc", **KWARGS)
    assert mean.value == 1
    assert np.isnan([mean.low, mean.high]).all()


def test_a_class_with_one_patient_is_not_compared() -> None:
    labels, patients = np.array([1] + [0] * 20), np.arange(21)
    rng = np.random.default_rng(0)
    p = np.clip(0.3 + 0.3 * labels + 0.1 * rng.standard_normal((2, 3, 21)), 0.01, 0.99)
    a, b = (np.stack([1 - q, q], axis=2) for q in p)
    comparison = compare_over_seeds(labels, a, b, patients, "auroc", **KWARGS)
    assert np.isnan([comparison.low, comparison.high, comparison.p_value]).all()
    assert "a class has one patient" in comparison.note
    assert compare_over_seeds(labels, a, b, patients, "loss", **KWARGS).p_value > 0


def test_limits_of_a_loss_are_not_negative() -> None:
    labels, p, patients = trained(0, 3, 3.0, patients=8, distance=4.0)
    mean = mean_over_seeds(labels, p, patients, "loss", **KWARGS)
    assert 0 <= mean.low < mean.value < mean.high
