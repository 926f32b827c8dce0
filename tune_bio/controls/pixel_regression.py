"""Logistic regression on a view of the pixels: the whole image, its border, or one pixel."""

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
        """Return class probabilities, (n, classes)."""
        return predict_all([self], images)[0]

    def predict_chunk(self, images: Chunk) -> Probabilities:
        """Return class probabilities, (n, classes), of images already at the geometry."""
        return probabilities_by_class(self.model, self.view(images), self.classes)


def fit_pixel_regression(table: Table, labels: Labels) -> Pipeline:
    """Fit a logistic regression on standardised columns, (n, columns).

    The L2 penalty corresponds to weights with a prior variance of 1 / columns, so that all columns
    together are as strong a priori as a single one; nothing is chosen on validation.
    """
    columns = table.shape[1]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / columns, max_iter=200))
    with warnings.catch_warnings():  # nearly converged is good enough for a control
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit_single_threaded(model, table, labels)


def predict_all(predictors: Sequence[PixelRegression], images: Images) -> list[Probabilities]:
    """Return the probabilities, (n, classes), of predictors that share a geometry, in one pass."""
    (geometry,) = {predictor.geometry for predictor in predictors}
    chunks = [[p.predict_chunk(chunk) for p in predictors] for chunk in chunks_at(images, geometry)]
    return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]
