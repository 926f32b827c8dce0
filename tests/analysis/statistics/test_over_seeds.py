"""Means over seeds, with seeds and patients in the variance."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.analysis.statistics.sample_factory import study
from tune_bio.analysis.statistics import compare_over_seeds, mean_over_seeds
from tune_bio.analysis.statistics.scoring import score
from tune_bio.errors import StatisticsError

HOW: dict[str, Any] = {"positive": 1, "seed": 0, "resamples": 300}


def trained(
    seed: int, seeds: int, between: float, patients: int = 60, distance: float = 1.0
) -> tuple[Any, Any, Any]:
    """Labels, probabilities and patients; `between` is how much seeds differ in separation."""
    case = study(seed, patients, distance)
    logit = np.log(case.probabilities[:, 1] / case.probabilities[:, 0])
    normal = stats.norm.ppf((np.arange(seeds) + 0.5) / seeds)
    luck = between * normal[:, None] * (case.labels - 0.5)
    p = 1 / (1 + np.exp(-(logit + luck)))
    return case.labels, np.stack([1 - p, p], axis=2), case.patients


def width(*study: Any, **how: Any) -> float:
    found = mean_over_seeds(*study, "auroc", **HOW | how)
    return found.high - found.low


def test_the_value_is_the_mean() -> None:
    labels, p, patients = trained(0, 4, 0.5)
    for metric in ("auroc", "accuracy", "loss"):
        found = mean_over_seeds(labels, p, patients, metric, **HOW)
        assert found.value == pytest.approx(np.mean([score(metric, labels, q, 1) for q in p]))
        assert found.low < found.value < found.high
    assert "4 seeds, 60 patients" in found.note


def test_seeds_and_patients_are_both_in_the_variance() -> None:
    calm, wild = trained(0, 4, 0.0), trained(0, 4, 3.0)
    assert width(*trained(0, 4, 0.0, patients=600)) < 0.5 * width(*calm)
    assert width(*trained(0, 4, 3.0, patients=600)) > 0.7 * width(*wild)
    # Without noise of seeds, more of them add nothing: the patients are the same.
    assert width(*trained(0, 12, 0.0)) == pytest.approx(width(*calm), rel=0.05)
    assert width(*wild) > 1.5 * width(*calm)
    # With it, more seeds help.
    few, many = (trained(0, seeds, 1.0, patients=600) for seeds in (4, 24))
    assert 0 < width(*many) < 0.7 * width(*few)


def test_a_setting_is_not_told_from_itself_and_from_a_worse_one() -> None:
    labels, p, patients = trained(0, 5, 0.3, distance=2.0)
    same = compare_over_seeds(labels, p, p, patients, "auroc", paired=True, **HOW)
    assert (same.difference, same.p_value) == (0, 1)
    worse = np.stack([0.5 + 0.02 * (p[:, :, 0] - 0.5), 0.5 + 0.02 * (p[:, :, 1] - 0.5)], axis=2)
    worse += np.random.default_rng(0).normal(0, 0.02, p.shape)
    for paired in (True, False):
        found = compare_over_seeds(labels, p, worse, patients, "auroc", paired=paired, **HOW)
        assert found.p_value < 0.01
        assert 0 < found.low < found.difference < found.high


def test_pairing_takes_out_what_seeds_share() -> None:
    labels, p, patients = trained(0, 6, 1.5)
    noise = np.random.default_rng(1).normal(0, 0.3, p.shape[:2])
    odds = np.exp(np.log(p[:, :, 1] / p[:, :, 0]) + noise)
    other = np.stack([1 / (1 + odds), odds / (1 + odds)], axis=2)
    found = {
        paired: compare_over_seeds(labels, p, other, patients, "auroc", paired=paired, **HOW)
        for paired in (True, False)
    }
    widths = {paired: each.high - each.low for paired, each in found.items()}
    assert found[True].difference == pytest.approx(found[False].difference)
    assert widths[True] < 0.6 * widths[False]


def test_too_few_seeds_are_refused() -> None:
    labels, p, patients = trained(0, 3, 0.1)
    with pytest.raises(StatisticsError, match="1 seed has no spread"):
        mean_over_seeds(labels, p[:1], patients, "auroc", **HOW)
    with pytest.raises(StatisticsError, match="3 and 2 seeds do not pair"):
        compare_over_seeds(labels, p, p[:2], patients, "auroc", paired=True, **HOW)


def test_the_interval_holds_the_mean_of_all_seeds_and_patients() -> None:
    """A mean of losses with a known truth: seeds and patients add normal noise."""
    held, studies = 0, 200
    for seed in range(studies):
        rng = np.random.default_rng(seed)
        of_seeds, of_patients = rng.normal(0, 0.15, (4, 1)), rng.normal(0, 0.8, 40)
        own = rng.normal(0, 0.3, (4, 40))
        loss = np.repeat(2.0 + of_seeds + of_patients + own, 2, axis=1)
        labels, codes = np.tile([0, 1], 40), np.repeat(np.arange(40), 2)
        right = np.exp(-np.clip(loss, 0.01, None))
        p = np.where(labels == 1, [1 - right, right], [right, 1 - right]).transpose(1, 2, 0)
        found = mean_over_seeds(labels, p, codes, "loss", positive=1, seed=seed, resamples=200)
        held += found.low <= 2.0 <= found.high
    assert stats.binomtest(held, studies, 0.95).pvalue > 0.001


def test_what_nothing_moves_has_no_interval_and_no_p_of_zero() -> None:
    labels, patients = np.array([0, 1] * 3), np.arange(6)
    right = np.tile(np.eye(2)[labels] * 0.8 + 0.1, (3, 1, 1))
    blind = np.full((3, 6, 2), 0.5)
    found = compare_over_seeds(labels, right, blind, patients, "auroc", **HOW)
    assert found.difference == 0.5
    assert np.isnan([found.low, found.high]).all()
    assert found.p_value == 2.0**-5  # six patients can say no more
    assert "no seed and no patient moves it" in found.note
    alike = compare_over_seeds(labels, right, right, patients, "auroc", **HOW)
    assert (alike.difference, alike.p_value) == (0, 1)
    mean = mean_over_seeds(labels, right, patients, "auroc", **HOW)
    assert mean.value == 1
    assert np.isnan([mean.low, mean.high]).all()


def test_one_patient_of_a_class_is_not_compared() -> None:
    labels, patients = np.array([1] + [0] * 20), np.arange(21)
    rng = np.random.default_rng(0)
    p = np.clip(0.3 + 0.3 * labels + 0.1 * rng.standard_normal((2, 3, 21)), 0.01, 0.99)
    a, b = (np.stack([1 - each, each], axis=2) for each in p)
    found = compare_over_seeds(labels, a, b, patients, "auroc", **HOW)
    assert np.isnan([found.low, found.high, found.p_value]).all()
    assert "a class has one patient" in found.note
    assert compare_over_seeds(labels, a, b, patients, "loss", **HOW).p_value > 0


def test_a_loss_has_no_limits_below_nothing() -> None:
    labels, p, patients = trained(0, 3, 3.0, patients=8, distance=4.0)
    found = mean_over_seeds(labels, p, patients, "loss", **HOW)
    assert 0 <= found.low < found.value < found.high
