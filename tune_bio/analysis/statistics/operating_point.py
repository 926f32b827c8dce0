"""Operating point of a two-class model: rates at a threshold, and the choice of the threshold."""

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
    """Estimate sensitivity, specificity, PPV and NPV, calling `threshold` or more positive.

    The chance value of each is what calling as many images positive at random would reach. With a
    `prevalence`, PPV and NPV are also given for it, by Bayes' theorem; their limits treat
    sensitivity and specificity as independent, which they are if each patient is of one class.
    """
    truth = sample.labels == sample.positive
    called = sample.probabilities[:, sample.positive] >= threshold
    share, called_share = float(truth.mean()), float(called.mean())
    note = f"at the threshold {threshold:.4g}"
    sensitivity = estimate_share("sensitivity", called, truth, sample, called_share, note)
    specificity = estimate_share("specificity", ~called, ~truth, sample, 1 - called_share, note)
    predictive_values = [
        estimate_share("ppv", truth, called, sample, share, note),
        estimate_share("npv", ~truth, ~called, sample, 1 - share, note),
    ]
    if prevalence is None:
        return [sensitivity, specificity, *predictive_values]
    return [
        sensitivity,
        specificity,
        *predictive_values,
        *_at_prevalence(sensitivity, specificity, prevalence),
    ]


def estimate_share(
    metric: str, hits: Flags, group: Flags, sample: Sample, chance: float, note: str
) -> Estimate:
    """Estimate the share of `hits` (n,) in a `group` (n,) of images, both boolean."""
    if not group.any():
        empty = f"{note}; no image to count".removeprefix("; ")
        return Estimate(metric, math.nan, 0.0, 1.0, WILSON, chance, empty)
    value, (low, high) = wilson(hits[group].astype(np.float64), sample.codes[group])
    return Estimate(metric, value, low, high, WILSON, chance, note)


def _at_prevalence(
    sensitivity: Estimate, specificity: Estimate, prevalence: float
) -> tuple[Estimate, Estimate]:
    if not 0 < prevalence < 1:
        raise StatisticsError(
            f"a prevalence of {prevalence:g} is not possible", "give one between 0 and 1"
        )
    odds = prevalence / (1 - prevalence)
    se, sp = sensitivity.value, specificity.value
    se_limits, sp_limits = (sensitivity.low, sensitivity.high), (specificity.low, specificity.high)
    positive_ratio, positive_ratio_limits = _likelihood_ratio(
        se, se_limits, 1 - sp, _complement(sp_limits)
    )
    negative_ratio, negative_ratio_limits = _likelihood_ratio(
        1 - se, _complement(se_limits), sp, sp_limits
    )
    note = f"at a prevalence of {prevalence:g}"
    ppv, ppv_low, ppv_high = (_share(odds * r) for r in (positive_ratio, *positive_ratio_limits))
    npv, npv_high, npv_low = (
        1 - _share(odds * r) for r in (negative_ratio, *negative_ratio_limits)
    )
    return (
        Estimate("ppv_at_prevalence", ppv, ppv_low, ppv_high, BAYES, prevalence, note),
        Estimate("npv_at_prevalence", npv, npv_low, npv_high, BAYES, 1 - prevalence, note),
    )


def _likelihood_ratio(
    numerator: float,
    numerator_limits: Limits,
    denominator: float,
    denominator_limits: Limits,
) -> tuple[float, Limits]:
    limits = ratio_of_independent(numerator, numerator_limits, denominator, denominator_limits)
    if denominator == 0:
        return (math.inf if numerator > 0 else math.nan), limits
    return numerator / denominator, limits


def _complement(limits: Limits) -> Limits:
    return 1 - limits[1], 1 - limits[0]


def _share(odds: float) -> float:
    return 1.0 if math.isinf(odds) else odds / (1 + odds)


ROUNDING = 1e-12  # of sums of shares
MARGIN = 1e-6  # recomputing a probability in float32 changes it by no more


def choose_threshold(
    labels: Labels, probabilities: Probabilities, positive: int, sensitivity: float | None = None
) -> float:
    """Choose the threshold at or above which an image is called positive.

    Choose it on the validation split, before any test image is looked at.

    Args:
        labels: (n,) class indices; both classes occur.
        probabilities: (n, 2).
        positive: index of the positive class.
        sensitivity: choose the highest threshold that reaches this sensitivity; by default the
            threshold with the largest sensitivity + specificity - 1 (Youden, Cancer 3:32, 1950),
            the highest among equals.

    Returns:
        The midpoint between the lowest score called positive and the next lower score (above all
        scores: between the highest and 1), so that a score that is recomputed slightly lower or
        higher is not called differently. If no image should be called positive and a score is 1,
        slightly more than 1.
    """
    scores = probabilities[:, positive]
    false, true, thresholds = roc_curve(labels == positive, scores, drop_intermediate=False)
    if sensitivity is None:
        youden = true - false
        index = int(np.argmax(youden >= youden.max() - ROUNDING))
    else:
        index = int(np.argmax(true >= sensitivity - ROUNDING))
    if index == 0:  # nothing is called positive: above every score
        highest = float(scores.max())
        return (highest + 1) / 2 if highest < 1 - MARGIN else 1 + MARGIN
    below = scores[scores < thresholds[index]]
    lower = float(below.max()) if below.size else 0.0
    midpoint = (float(thresholds[index]) + lower) / 2
    # Two neighbouring floats have no midpoint.
    return midpoint if midpoint > lower else float(thresholds[index])
