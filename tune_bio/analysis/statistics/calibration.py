"""Are probabilities what they claim? Recalibration and the expected calibration error."""

import numpy as np

from tune_bio.analysis.statistics.sample import Sample
from tune_bio.analysis.statistics.scoring import Scorer, recalibration

BINS = 10


def calibration_scorers(sample: Sample) -> dict[str, Scorer]:
    """Slope and intercept of the logistic recalibration, and the intercept at slope 1.

    Two classes only, of the positive one; see `scoring.recalibration`.
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
    """Mean distance of probability and frequency over ten bins of even width, by images.

    Two classes: of the positive one. More: of the class that is most likely (Guo et al. 2017, On
    calibration of modern neural networks, ICML). It is biased upwards in small samples and has no
    sound interval there, so none is given.
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
