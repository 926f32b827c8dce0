"""Calibration of predicted probabilities: recalibration and the expected calibration error."""

import numpy as np

from tune_bio.analysis.statistics.sample import Sample
from tune_bio.analysis.statistics.scoring import Scorer, recalibration

BINS = 10


def calibration_scorers(sample: Sample) -> dict[str, Scorer]:
    """Return scorers of logistic recalibration: intercept and slope, and the intercept at slope 1.

    For two classes only, on the positive one; see `scoring.recalibration`.
    """
    truth = (sample.labels == sample.positive).astype(np.int64)
    probability = sample.probabilities[:, sample.positive]
    both = recalibration(truth, probability, slope=True)
    large = recalibration(truth, probability, slope=False)
    return {
        "recalibration": both,
        "calibration_in_the_large": lambda weights: large(weights)[:, 0],
    }


def expected_calibration_error(sample: Sample) -> float:
    """Compute the mean distance between probability and frequency over ten bins of equal width.

    Bins are weighted by their images. Two classes: the probability of the positive class. More: the
    probability of the most likely class (Guo et al. 2017, On calibration of modern neural networks,
    ICML). The error is biased upwards in small samples and has no sound interval there, so no
    interval is given.
    """
    if sample.classes == 2:
        probability = sample.probabilities[:, sample.positive]
        truth = sample.labels == sample.positive
    else:
        probability = sample.probabilities.max(axis=1)
        truth = sample.probabilities.argmax(axis=1) == sample.labels
    bins = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights=probability - truth, minlength=BINS)
    return float(np.abs(gaps).sum() / len(truth))
