"""Proportions of images clustered in patients: Wilson's interval on the effective sample size."""

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from tune_bio.analysis.statistics.arrays import Floats, Integers, patient_sums
from tune_bio.analysis.statistics.intervals import LEVEL, Limits, Z, t_quantile

# Weight of the greatest design effect in its average with the observed one, in patients.
_PRIOR_WEIGHT = 0.5
# From this many patients on, the normal quantile is as good as t's (benchmarks/coverage.py).
_MANY_PATIENTS = 30


def wilson(hits: Floats, codes: Integers) -> tuple[float, Limits]:
    """Compute a proportion of images and its 95 % interval, never of zero width.

    Wilson's interval on the effective sample size n / D. D is the design effect, the cluster-robust
    variance of the ratio estimator divided by that of independent images (Rao & Scott 1992, A
    simple method for the analysis of clustered binary data, Biometrics 48:577). Close to 0 and 1
    few patients disagree with the rest and D is poorly estimated, and at 0 or 1 it is undefined; it
    is therefore averaged with the D of images that always agree within a patient, which weighs
    more, the fewer patients disagree. Wilson's interval is the recommended one under clustering:
    Dean & Pagano 2015, Evaluating confidence interval methods for binomial proportions in clustered
    surveys, Journal of Survey Statistics and Methodology 3:484. With fewer than 30 patients, the
    quantile is that of t.

    Args:
        hits: (n,) 0 or 1 per image.
        codes: (n,) each image's patient, as any integers from 0.
    """
    _, codes = np.unique(codes, return_inverse=True)
    patients, images = int(codes.max()) + 1, len(hits)
    size = np.bincount(codes, minlength=patients).astype(np.float64)
    patient_hits = patient_sums(hits, codes, patients)
    share = float(hits.mean())
    effective = images / _design_effect(share, patient_hits, size)
    # Wilson's formula depends on the quantile only through quantile^2 / n: scaling n replaces it.
    quantile = Z if patients >= _MANY_PATIENTS else t_quantile(max(1, patients - 1))
    effective *= (Z / quantile) ** 2
    low, high = proportion_confint(share * effective, effective, alpha=1 - LEVEL, method="wilson")
    # Rounding may put a share of 0 or 1 outside its limits.
    return share, (min(share, max(0.0, float(low))), max(share, min(1.0, float(high))))


def _design_effect(share: float, patient_hits: Floats, size: Floats) -> float:
    patients, images = len(size), float(size.sum())
    correction = patients / max(1, patients - 1)
    greatest = correction * float((size**2).sum()) / images
    disagreeing = min(int((patient_hits > 0).sum()), int((patient_hits < size).sum()))
    if share in (0.0, 1.0):
        return greatest
    residuals = ((patient_hits - share * size) ** 2).sum()
    observed = correction * float(residuals) / images / (share * (1 - share))
    average: float = (disagreeing * observed + _PRIOR_WEIGHT * greatest) / (
        disagreeing + _PRIOR_WEIGHT
    )
    return average
