"""A two-class model at its threshold: whom it finds, and whom to believe."""

import math

import numpy as np

from tune_bio.analysis.statistics.arrays import Flags
from tune_bio.analysis.statistics.intervals import Estimate, Limits, ratio_of_independent
from tune_bio.analysis.statistics.proportions import wilson
from tune_bio.analysis.statistics.sample import Sample
from tune_bio.errors import StatisticsError

WILSON = "Wilson, effective sample size of clustered images"
BAYES = "Bayes, MOVER of Wilson's limits"


def at_threshold(sample: Sample, threshold: float, prevalence: float | None) -> list[Estimate]:
    """Sensitivity, specificity, PPV and NPV where `threshold` or more is called positive.

    Beside each stands what calling as many images positive at random would reach. With a
    `prevalence`, PPV and NPV are given for it too, by Bayes' theorem; their limits take
    sensitivity and specificity for independent, which they are where each patient is of one class.
    """
    truth = sample.labels == sample.positive
    called = sample.probabilities[:, sample.positive] >= threshold
    share, called_share = float(truth.mean()), float(called.mean())
    told = f"at the threshold {threshold:.4g}"
    sensitivity = among("sensitivity", called, truth, sample, called_share, told)
    specificity = among("specificity", ~called, ~truth, sample, 1 - called_share, told)
    seen = [
        among("ppv", truth, called, sample, share, told),
        among("npv", ~truth, ~called, sample, 1 - share, told),
    ]
    if prevalence is None:
        return [sensitivity, specificity, *seen]
    return [sensitivity, specificity, *seen, *_elsewhere(sensitivity, specificity, prevalence)]


def among(
    metric: str, hits: Flags, group: Flags, sample: Sample, chance: float, note: str
) -> Estimate:
    """The share of `hits` (n,) in a `group` (n,) of images, both boolean."""
    if not group.any():
        empty = f"{note}; no image to count".removeprefix("; ")
        return Estimate(metric, math.nan, 0.0, 1.0, WILSON, chance, empty)
    value, (low, high) = wilson(hits[group].astype(np.float64), sample.codes[group])
    return Estimate(metric, value, low, high, WILSON, chance, note)


def _elsewhere(
    sensitivity: Estimate, specificity: Estimate, prevalence: float
) -> tuple[Estimate, Estimate]:
    if not 0 < prevalence < 1:
        raise StatisticsError(
            f"a prevalence of {prevalence:g} is not possible", "give one between 0 and 1"
        )
    odds = prevalence / (1 - prevalence)
    se, sp = sensitivity.value, specificity.value
    se_limits, sp_limits = (sensitivity.low, sensitivity.high), (specificity.low, specificity.high)
    found, found_limits = _likelihood_ratio(se, se_limits, 1 - sp, _complement(sp_limits))
    missed, missed_limits = _likelihood_ratio(1 - se, _complement(se_limits), sp, sp_limits)
    told = f"at a prevalence of {prevalence:g}"
    ppv, ppv_low, ppv_high = (_share(odds * r) for r in (found, *found_limits))
    npv, npv_high, npv_low = (1 - _share(odds * r) for r in (missed, *missed_limits))
    return (
        Estimate("ppv_at_prevalence", ppv, ppv_low, ppv_high, BAYES, prevalence, told),
        Estimate("npv_at_prevalence", npv, npv_low, npv_high, BAYES, 1 - prevalence, told),
    )


def _likelihood_ratio(
    above: float, over: Limits, below: float, under: Limits
) -> tuple[float, Limits]:
    limits = ratio_of_independent(above, over, below, under)
    if below == 0:
        return (math.inf if above > 0 else math.nan), limits
    return above / below, limits


def _complement(limits: Limits) -> Limits:
    return 1 - limits[1], 1 - limits[0]


def _share(odds: float) -> float:
    return 1.0 if math.isinf(odds) else odds / (1 + odds)
