"""Metrics: arrays in, floats out. All are from scikit-learn, under the names of the columns."""

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
)

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]

METRICS = ("loss", "accuracy", "balanced_accuracy", "macro_f1", "auroc")


def compute_metrics(
    labels: Labels, probabilities: Probabilities, positive: int
) -> dict[str, float]:
    """Compute every metric of the epochs table.

    Args:
        labels: (n,) class indices; every class occurs.
        probabilities: (n, classes), finite, each row summing to 1.
        positive: index of the positive class (two classes; ignored for more).

    Returns:
        `loss` (mean negative log-likelihood, natural log), `accuracy`, `balanced_accuracy`,
        `macro_f1` and `auroc`, each as a fraction.
    """
    predicted = probabilities.argmax(axis=1)
    classes = np.arange(probabilities.shape[1])
    return {
        "loss": float(log_loss(labels, probabilities, labels=classes)),
        "accuracy": float(accuracy_score(labels, predicted)),
        "balanced_accuracy": float(balanced_accuracy_score(labels, predicted)),
        "macro_f1": float(
            f1_score(labels, predicted, labels=classes, average="macro", zero_division=0.0)
        ),
        "auroc": auroc(labels, probabilities, positive),
    }


def auroc(labels: Labels, probabilities: Probabilities, positive: int) -> float:
    """Return the area under the ROC curve of the positive class; macro one-vs-rest for more."""
    if probabilities.shape[1] == 2:
        return float(roc_auc_score(labels == positive, probabilities[:, positive]))
    # Same as scikit-learn's macro one-vs-rest, which requires rows that sum to exactly 1.
    areas = [roc_auc_score(labels == k, probabilities[:, k]) for k in range(probabilities.shape[1])]
    return float(np.mean(areas))
