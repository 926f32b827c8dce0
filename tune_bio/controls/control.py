"""A control: a simple predictor, its input, and its scores on validation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits

from tune_bio.datasets.images import Images
from tune_bio.training.metrics import Labels, Probabilities

Predictor = Callable[[Images], Probabilities]


@dataclass(frozen=True)
class Control:
    """A simple predictor to compare the models of a study with.

    name: `majority`, `pixels`, `border`, `metadata` or `best_pixel`.
    looks_at: a sentence that describes its input and the number of images it was fitted on.
    probabilities: (n, classes) float64, of the validation images in their order.
    metrics: validation metrics of `tune_bio.training.metrics.compute_metrics`.
    predict: return class probabilities (n, classes) of other images, such as the test set.
    """

    name: str
    looks_at: str
    probabilities: Probabilities
    metrics: dict[str, float]
    predict: Predictor


def fit_single_threaded(
    model: BaseEstimator, table: npt.NDArray[np.float64], labels: Labels
) -> BaseEstimator:
    """Fit a scikit-learn classifier in one thread and return it.

    The last digits then do not depend on the number of cores. On tables this small, threads that
    wait for each other would also be slower when other work runs.
    """
    with threadpool_limits(1):
        return model.fit(table, labels)


def probabilities_by_class(
    model: BaseEstimator, table: npt.NDArray[np.float64], classes: int
) -> Probabilities:
    """Return a fitted classifier's probabilities, (n, classes); 0 for classes not in training."""
    probabilities = np.zeros((len(table), classes))
    with threadpool_limits(1):
        probabilities[:, model.classes_] = model.predict_proba(table)
    return probabilities
