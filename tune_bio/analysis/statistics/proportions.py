"""Shares of images, where images of one patient are alike: Wilson's interval on what they weigh."""

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from tune_bio.analysis.statistics.arrays import Floats, Integers, patient_sums
from tune_bio.analysis.statistics.intervals import LEVEL, Limits, Z, t_quantile

# The design effect is weighed with its greatest value as if that had been seen on so many patients.
_PRIOR = 0.5
# From here on the normal quantile is as good as t's (benchmarks/coverage.py).
_MANY = 30


def wilson(hits: Floats, codes: Integers) -> tuple[float, Limits]:
    """A share of images and its 95 % interval, never of zero width.

    Wilson's interval on the effective sample size n / D. D is the design effect, the cluster-robust
    variance of the ratio estimator over that of independent images (Rao & Scott 1992, A simple
    method for the analysis of clustered binary data, Biometrics 48:577). Close to 0 and 1 few
    patients disagree with the rest and D is hardly known, and at 0 or 1 it is not defined; so it is
    weighed with the D of images that always agree within a patient (the more so, the fewer
    patients disagree). That Wilson's interval is the one to take under clustering: Dean & Pagano
    2015, Evaluating confidence interval methods for binomial proportions in clustered surveys,
    Journal of Survey Statistics and Methodology 3:484. Fewer than 30 patients: t's quantile.

    Args:
        hits: (n,) 0 or 1 an image.
        codes: (n,) each image's patient, any integers from 0 on.
    """
    _, codes = np.unique(codes, return_inverse=True)
    patients, images = int(codes.max()) + 1, len(hits)
    size = np.bincount(codes, minlength=patients).astype(np.float64)
    right = patient_sums(hits, codes, patients)
    share = float(hits.mean())
    effective = images / _design_effect(share, right, size)
    # Wilson's formula knows the quantile's square over n alone.
    quantile = Z if patients >= _MANY else t_quantile(max(1, patients - 1))
    effective *= (Z / quantile) ** 2
    low, high = proportion_confint(share * effective, effective, alpha=1 - LEVEL, method="wilson")
    # Rounding may leave 0 or 1 outside.
    return share, (min(share, max(0.0, float(low))), max(share, min(1.0, float(high))))


def _design_effect(share: float, right: Floats, size: Floats) -> float:
    patients, images = len(size), float(size.sum())
    correction = patients / max(1, patients - 1)
    greatest = correction * float((size**2).sum()) / images
    disagreeing = min(int((right > 0).sum()), int((right < size).sum()))
    if share in (0.0, 1.0):
        return greatest
    residuals = ((right - share * size) ** 2).sum()
    seen = correction * float(residuals) / images / (share * (1 - share))
    weighed: float = (disagreeing * seen + _PRIOR * greatest) / (disagreeing + _PRIOR)
    return weighed
