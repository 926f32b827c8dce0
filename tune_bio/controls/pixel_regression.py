"""Logistic regression on a view of the pixels: of the whole image, its border, or one pixel."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tune_bio.controls.control import fit_single_threaded, probabilities_by_class
from tune_bio.controls.views import Chunk, Table, View, chunks_at
from tune_bio.datasets.images import Images
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.training.metrics import Labels, Probabilities


@dataclass(frozen=True)
class PixelRegression:
    """A fitted model on a view of images at one geometry."""

    geometry: Geometry
    view: View
    model: Pipeline
    classes: int

    def __call__(self, images: Images) -> Probabilities:
        """Class probabilities, (n, classes)."""
        return predict_all([self], images)[0]

    def of(self, images: Chunk) -> Probabilities:
        """Class probabilities, (n, classes), of images that are at the geometry."""
        return probabilities_by_class(self.model, self.view(images), self.classes)


def fit_pixel_regression(table: Table, labels: Labels) -> Pipeline:
    """Logistic regression on standardised columns, (n, columns).

    The L2 penalty is that of weights whose prior variance is 1 / columns, so that all columns
    together are as strong a priori as one alone would be; nothing is chosen on validation.
    """
    columns = table.shape[1]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / columns, max_iter=200))
    with warnings.catch_warnings():  # nearly converged is good enough for a control
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit_single_threaded(model, table, labels)


def predict_all(predictors: Sequence[PixelRegression], images: Images) -> list[Probabilities]:
    """(n, classes) by each of several predictors at one geometry, in one pass over the images."""
    (geometry,) = {predictor.geometry for predictor in predictors}
    chunks = [[p.of(chunk) for p in predictors] for chunk in chunks_at(images, geometry)]
    return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]
