"""A two-class model at its threshold: whom it finds, and whom to believe."""

import math

import numpy as np
from sklearn.metrics import roc_curve

from tune_bio.analysis.statistics.arrays import Flags
from tune_bio.analysis.statistics.intervals import Estimate, Limits, ratio_of_independent
from tune_bio.analysis.statistics.proportions import wilson
from tune_bio.analysis.statistics.sample import Sample
from tune_bio.errors import StatisticsError
from tune_bio.training.metrics import Labels, Probabilities

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


ROUNDING = 1e-12  # of sums of shares
MARGIN = 1e-6  # by more no probability is moved that is computed again in float32


def choose_threshold(
    labels: Labels, probabilities: Probabilities, positive: int, sensitivity: float | None = None
) -> float:
    """The threshold at or above which an image is called positive.

    It is to be chosen on validation, before any test image is looked at.

    Args:
        labels: (n,) class indices; both classes occur.
        probabilities: (n, 2).
        positive: index of the positive class.
        sensitivity: the highest threshold that reaches it; by default the one with the largest
            sensitivity + specificity - 1 (Youden, Cancer 3:32, 1950), the highest among equals.

    Returns:
        The midpoint between the last score that is called positive and the next lower one (above
        all scores: between the highest and 1), so that a score that is computed again a little
        lower or higher is not called otherwise. Where nothing is to be called positive and a score
        is 1, a little more than 1.
    """
    scores = probabilities[:, positive]
    false, true, thresholds = roc_curve(labels == positive, scores, drop_intermediate=False)
    if sensitivity is None:
        gain = true - false
        at = int(np.argmax(gain >= gain.max() - ROUNDING))
    else:
        at = int(np.argmax(true >= sensitivity - ROUNDING))
    if at == 0:  # nothing is called positive: above every score
        highest = float(scores.max())
        return (highest + 1) / 2 if highest < 1 - MARGIN else 1 + MARGIN
    below = scores[scores < thresholds[at]]
    lower = float(below.max()) if below.size else 0.0
    middle = (float(thresholds[at]) + lower) / 2
    return middle if middle > lower else float(thresholds[at])  # there may be nothing between
