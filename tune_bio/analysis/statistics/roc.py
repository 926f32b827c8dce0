"""AUROC and its variance when patients have several images: DeLong's method by midranks."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from tune_bio.analysis.statistics.arrays import Floats, Integers, patient_sums
from tune_bio.analysis.statistics.intervals import Limits, logit_interval, t_quantile

# DeLong's variance is weighed with the implied one as if that had been seen on so many patients.
_PRIOR = 0.05


@dataclass(frozen=True)
class Area:
    """An AUROC, its standard error and the degrees of freedom of t's quantile.

    `disagreeing` patients of either class, at least, have an image in the wrong order (or, below
    an area of 1/2, in the right one).
    """

    value: float
    standard_error: float
    degrees_of_freedom: float
    disagreeing: int


def clustered_delong(truth: Integers, scores: Floats, codes: Integers) -> Area:
    """AUROC of images clustered in patients, O(n log n).

    Obuchowski 1997, Nonparametric analysis of clustered ROC curve data, Biometrics 53:567; with one
    image a patient it is DeLong et al. 1988, Biometrics 44:837. The placements come from midranks:
    Sun & Xu 2014, Fast implementation of DeLong's algorithm for comparing the areas under
    correlated receiver operating characteristic curves, IEEE Signal Processing Letters 21:1389.
    The degrees of freedom are Welch's and Satterthwaite's, of patients with positive images and of
    patients with negative ones.

    Args:
        truth: (n,) 1 for the positive class, else 0; both occur.
        scores: (n,), greater where the positive class is more likely.
        codes: (n,) each image's patient, from 0 on.
    """
    positive = truth == 1
    patients = int(codes.max()) + 1
    above, below = _placements(scores[positive], scores[~positive])
    area = float(above.mean())
    first = _centred_sums(above, area, codes[positive], patients) / len(above)
    second = _centred_sums(below, area, codes[~positive], patients) / len(below)
    with_first = len(np.unique(codes[positive]))
    with_second = len(np.unique(codes[~positive]))
    v1, d1 = _variance(first, with_first)
    v2, d2 = _variance(second, with_second)
    shared = float((first * second).sum()) * patients / (patients - 1)
    variance = max(0.0, v1 + v2 + 2 * shared)
    freedom = (v1 + v2) ** 2 / (v1**2 / d1 + v2**2 / d2) if v1 + v2 > 0 else float(min(d1, d2))
    disagreeing = min(_disagreeing(above, codes[positive]), _disagreeing(below, codes[~positive]))
    return Area(area, math.sqrt(variance), freedom, disagreeing)


def auroc_interval(truth: Integers, scores: Floats, codes: Integers) -> tuple[float, Limits]:
    """AUROC and its 95 % interval, of clustered DeLong on the logit scale, never of zero width.

    Close to 1 a few patients in the wrong order are all that DeLong's variance knows, and it is too
    small. So it is weighed, the more so the fewer they are, with the variance that the area itself
    implies (Newcombe 2006, Confidence intervals for an effect size measure based on the
    Mann-Whitney statistic, part 2, Statistics in Medicine 25:559), of patients whose images always
    agree. An area of 0 or 1 has no variance: its interval holds the areas whose own implied
    standard error allows what was seen (method 5 there, as Wilson's for a share). One patient of a
    class shows nothing of how its kind varies: then the implied variance stands alone.
    """
    area = clustered_delong(truth, scores, codes)
    worth = _worth(codes[truth == 1]), _worth(codes[truth == 0])
    if not 0 < area.value < 1:
        return area.value, _limits_at_the_end(area.value, *worth)
    implied = _implied_variance(area.value, *worth)
    seen, freedom = area.disagreeing, area.degrees_of_freedom
    if min(len(np.unique(codes[truth == k])) for k in (0, 1)) == 1:
        seen, freedom = 0, 1.0
    variance = (seen * area.standard_error**2 + _PRIOR * implied) / (seen + _PRIOR)
    quantile = t_quantile(max(1.0, freedom))
    return area.value, logit_interval(area.value, math.sqrt(variance), quantile)


def _placements(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """For each image, the share of the other class that it is in the right order with."""
    m, n = len(positive), len(negative)
    together = stats.rankdata(np.concatenate([positive, negative]))
    above = (together[:m] - stats.rankdata(positive)) / n
    below = 1 - (together[m:] - stats.rankdata(negative)) / m
    return above, below


def _centred_sums(placements: Floats, area: float, codes: Integers, patients: int) -> Floats:
    return patient_sums(placements - area, codes, patients)


def _disagreeing(placements: Floats, codes: Integers) -> int:
    """Patients with an image in the wrong order, or with one in the right order if that is less."""
    return min(len(np.unique(codes[placements < 1])), len(np.unique(codes[placements > 0])))


def _variance(sums: Floats, patients: int) -> tuple[float, int]:
    """Of a sum over patients, and its degrees of freedom."""
    freedom = max(1, patients - 1)
    return float((sums**2).sum()) * patients / freedom, freedom


def _implied_variance(area: float, m: float, n: float) -> float:
    """Newcombe's variance of an area, of m positive and n negative independent patients."""
    half = (m + n) / 2 - 1
    spread = 1 + half * ((1 - area) / (2 - area) + area / (1 + area))
    return area * (1 - area) * spread / (m * n)


def _limits_at_the_end(area: float, m: float, n: float) -> Limits:
    """Limits beside an area of 0 or 1."""
    quantile = t_quantile(max(1.0, min(m, n) - 1))

    def outside(distance: float) -> float:
        # Of (distance)^2 - (quantile)^2 variance, less its root at no distance.
        return distance - quantile**2 * _implied_variance(1 - distance, m, n) / distance

    distance = float(optimize.brentq(outside, 1e-12, 1.0))
    return (1 - distance, 1.0) if area == 1 else (0.0, distance)


def _worth(codes: Integers) -> float:
    """How many patients these images are worth, if images of a patient always agree."""
    size = np.bincount(codes)
    return float(size.sum() ** 2 / (size**2).sum())
