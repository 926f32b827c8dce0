"""The operating point of a two-class model: a threshold on the positive class's probability."""

import numpy as np
from sklearn.metrics import roc_curve

from tune_bio.metrics import Labels, Probabilities

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
