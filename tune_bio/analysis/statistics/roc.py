"""AUROC and its variance when patients have several images: DeLong's method by midranks."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from tune_bio.analysis.statistics.arrays import Floats, Integers, patient_sums
from tune_bio.analysis.statistics.intervals import Limits, logit_interval, t_quantile

# Weight of the implied variance in its average with DeLong's, as a number of patients.
_PRIOR_WEIGHT = 0.05


@dataclass(frozen=True)
class Area:
    """An AUROC, its standard error and the degrees of freedom of its t quantile.

    `disagreeing` counts the patients of a class with an image in the wrong order, or those with an
    image in the right order if they are fewer; it is the smaller count of the two classes.
    """

    value: float
    standard_error: float
    degrees_of_freedom: float
    disagreeing: int


def clustered_delong(truth: Integers, scores: Floats, codes: Integers) -> Area:
    """Compute the AUROC of images clustered in patients, in O(n log n).

    Obuchowski 1997, Nonparametric analysis of clustered ROC curve data, Biometrics 53:567; with one
    image per patient it is DeLong et al. 1988, Biometrics 44:837. The placements come from
    midranks: Sun & Xu 2014, Fast implementation of DeLong's algorithm for comparing the areas under
    correlated receiver operating characteristic curves, IEEE Signal Processing Letters 21:1389.
    The degrees of freedom are those of Welch and Satterthwaite; their two groups are the patients
    with positive images and the patients with negative images.

    Args:
        truth: (n,) 1 for the positive class, else 0; both occur.
        scores: (n,), higher where the positive class is more likely.
        codes: (n,) each image's patient, as an integer from 0.
    """
    positive = truth == 1
    patients = int(codes.max()) + 1
    above, below = _placements(scores[positive], scores[~positive])
    area = float(above.mean())
    positive_sums = _centred_sums(above, area, codes[positive], patients) / len(above)
    negative_sums = _centred_sums(below, area, codes[~positive], patients) / len(below)
    positive_patients = len(np.unique(codes[positive]))
    negative_patients = len(np.unique(codes[~positive]))
    v1, dof1 = _variance(positive_sums, positive_patients)
    v2, dof2 = _variance(negative_sums, negative_patients)
    covariance = float((positive_sums * negative_sums).sum()) * patients / (patients - 1)
    variance = max(0.0, v1 + v2 + 2 * covariance)
    dof = (v1 + v2) ** 2 / (v1**2 / dof1 + v2**2 / dof2) if v1 + v2 > 0 else float(min(dof1, dof2))
    disagreeing = min(_disagreeing(above, codes[positive]), _disagreeing(below, codes[~positive]))
    return Area(area, math.sqrt(variance), dof, disagreeing)


def auroc_interval(truth: Integers, scores: Floats, codes: Integers) -> tuple[float, Limits]:
    """Compute the AUROC and its 95 % interval: clustered DeLong on the logit scale.

    The interval never has zero width. Close to 1, DeLong's variance rests on a few patients in the
    wrong order and is too small. It is therefore averaged with the variance that the area itself
    implies (Newcombe 2006, Confidence intervals for an effect size measure based on the
    Mann-Whitney statistic, part 2, Statistics in Medicine 25:559) for patients whose images always
    agree; the fewer patients disagree, the more the implied variance weighs. An area of 0 or 1 has
    no variance: its interval holds the areas whose own implied standard error is compatible with
    the observed area (method 5 there, analogous to Wilson's for a proportion). A single patient of
    a class does not show how much such patients vary: then only the implied variance is used.
    """
    area = clustered_delong(truth, scores, codes)
    effective = _effective_patients(codes[truth == 1]), _effective_patients(codes[truth == 0])
    if not 0 < area.value < 1:
        return area.value, _boundary_limits(area.value, *effective)
    implied = _implied_variance(area.value, *effective)
    disagreeing, dof = area.disagreeing, area.degrees_of_freedom
    if min(len(np.unique(codes[truth == k])) for k in (0, 1)) == 1:
        disagreeing, dof = 0, 1.0
    variance = (disagreeing * area.standard_error**2 + _PRIOR_WEIGHT * implied) / (
        disagreeing + _PRIOR_WEIGHT
    )
    quantile = t_quantile(max(1.0, dof))
    return area.value, logit_interval(area.value, math.sqrt(variance), quantile)


def _placements(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """Return the share of the other class that each image is ordered correctly against."""
    m, n = len(positive), len(negative)
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    above = (ranks[:m] - stats.rankdata(positive)) / n
    below = 1 - (ranks[m:] - stats.rankdata(negative)) / m
    return above, below


def _centred_sums(placements: Floats, area: float, codes: Integers, patients: int) -> Floats:
    return patient_sums(placements - area, codes, patients)


def _disagreeing(placements: Floats, codes: Integers) -> int:
    """Count the patients with an image in the wrong order, or in the right order if fewer."""
    return min(len(np.unique(codes[placements < 1])), len(np.unique(codes[placements > 0])))


def _variance(sums: Floats, patients: int) -> tuple[float, int]:
    """Return the variance of a sum over patients, and its degrees of freedom."""
    dof = max(1, patients - 1)
    return float((sums**2).sum()) * patients / dof, dof


def _implied_variance(area: float, m: float, n: float) -> float:
    """Return Newcombe's variance of an area, for m positive and n negative independent patients."""
    half = (m + n) / 2 - 1
    spread = 1 + half * ((1 - area) / (2 - area) + area / (1 + area))
    return area * (1 - area) * spread / (m * n)


def _boundary_limits(area: float, m: float, n: float) -> Limits:
    """Return the limits of an area of 0 or 1."""
    quantile = t_quantile(max(1.0, min(m, n) - 1))

    def excess(distance: float) -> float:
        # distance^2 - quantile^2 * variance, divided by distance to remove the root at 0.
        return distance - quantile**2 * _implied_variance(1 - distance, m, n) / distance

    distance = float(optimize.brentq(excess, 1e-12, 1.0))
    return (1 - distance, 1.0) if area == 1 else (0.0, distance)


def _effective_patients(codes: Integers) -> float:
    """Return the effective number of patients, if the images of a patient always agree."""
    size = np.bincount(codes)
    return float(size.sum() ** 2 / (size**2).sum())
