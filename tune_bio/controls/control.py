"""What a control is: a simple predictor, what it looks at, and how it did on validation."""

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
    """A simple predictor beside the models of a study.

    name: `majority`, `pixels`, `border`, `metadata` or `best_pixel`.
    looks_at: a sentence on what it looks at, and on how many images it was fitted.
    probabilities: (n, classes) float64, of the validation images in their order.
    metrics: those of `tune_bio.training.metrics.evaluate` on validation.
    predict: class probabilities (n, classes) of other images of the same kind, as the test set's.
    """

    name: str
    looks_at: str
    probabilities: Probabilities
    metrics: dict[str, float]
    predict: Predictor


def fit_single_threaded(
    model: BaseEstimator, table: npt.NDArray[np.float64], labels: Labels
) -> BaseEstimator:
    """Fit a scikit-learn classifier in one thread, and give it back.

    So that the last digits do not depend on the number of cores; with tables so small, threads that
    wait for each other take longer where other work runs, too.
    """
    with threadpool_limits(1):
        return model.fit(table, labels)


def probabilities_by_class(
    model: BaseEstimator, table: npt.NDArray[np.float64], classes: int
) -> Probabilities:
    """(n, classes) of a fitted scikit-learn classifier; 0 for a class that it has not seen."""
    probabilities = np.zeros((len(table), classes))
    with threadpool_limits(1):
        probabilities[:, model.classes_] = model.predict_proba(table)
    return probabilities
