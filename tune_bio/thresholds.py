"""The operating point of a two-class model: a threshold on the positive class's probability."""

import numpy as np
from sklearn.metrics import roc_curve

from tune_bio.metrics import Labels, Probabilities


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
        A probability: the midpoint between the last score that is called positive and the next
        lower one, so that a score that is computed again a little lower is not called negative.
    """
    scores = probabilities[:, positive]
    false, true, thresholds = roc_curve(labels == positive, scores, drop_intermediate=False)
    if sensitivity is None:
        at = int(np.argmax(true - false))
    else:
        at = int(np.argmax(true >= sensitivity - 1e-12))
    if at == 0:  # nothing is called positive: above every score
        return float(np.nextafter(scores.max(), np.inf))
    below = scores[scores < thresholds[at]]
    lower = below.max() if below.size else 0.0
    return float((thresholds[at] + lower) / 2)
