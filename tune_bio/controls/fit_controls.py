"""All controls of one data set, fitted on train and scored on validation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.dummy import DummyClassifier

from tune_bio.controls import best_pixel, file_metadata
from tune_bio.controls.control import Control, Predictor, probabilities_by_class
from tune_bio.controls.pixel_regression import PixelRegression, fit_pixel_regression, predict_all
from tune_bio.controls.sampling import sample_rows
from tune_bio.controls.views import CELLS, OnePixel, View, border_only, iterate_views, shrink
from tune_bio.datasets.images import Images
from tune_bio.datasets.sources.collection import default_geometries
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.training import metrics
from tune_bio.training.metrics import Probabilities

CONTROLS = ("majority", "pixels", "border", "metadata", "best_pixel")
FITTED_ON = 10_000  # training images at most: simple predictors gain little from more


def run_controls(
    train: Images,
    val: Images,
    *,
    classes: Sequence[str],
    positive: int,
    seed: int,
    geometry: Geometry | None = None,
) -> list[Control]:
    """`majority`, `pixels`, `border_only`, `metadata` and `best_pixel`; equal for equal arguments.

    Args:
        train: what they are fitted on, at most 10,000 images of it (drawn by `seed`).
        val: what they are scored on; every class occurs.
        classes: the names of the classes.
        positive: index of the positive class.
        seed: of the draws.
        geometry: of the models that they stand beside; the whole image at no more than 224 px by
            default. The controls see what the models see: what it crops away is no explanation.
    """
    geometry = geometry or default_geometries(train.source.size)[0]
    train_on = train.take(sample_rows(train.labels, FITTED_ON, seed, "controls"))
    told = f"fitted on {_count(len(train_on), len(train))} training images"
    predictors: dict[str, tuple[str, Predictor]] = {
        "majority": _majority(train, len(classes)),
        **_on_pixels(train, train_on, len(classes), seed, geometry, told),
        "metadata": _metadata(train_on, len(classes), seed, told),
    }
    probabilities = _on_validation({name: p for name, (_, p) in predictors.items()}, val)
    return [
        Control(
            name,
            predictors[name][0],
            probabilities[name],
            metrics.compute_metrics(val.labels, probabilities[name], positive),
            predictors[name][1],
        )
        for name in CONTROLS
    ]


@dataclass(frozen=True)
class Majority:
    """The class frequencies, whatever the image."""

    model: DummyClassifier
    classes: int

    def __call__(self, images: Images) -> Probabilities:
        """Class probabilities, (n, classes)."""
        return probabilities_by_class(self.model, np.zeros((len(images), 1)), self.classes)


def _majority(train: Images, classes: int) -> tuple[str, Predictor]:
    model = DummyClassifier(strategy="prior").fit(np.zeros((len(train), 1)), train.labels)
    return "No image: how frequent each class is in training.", Majority(model, classes)


def _on_pixels(
    train: Images, train_on: Images, classes: int, seed: int, geometry: Geometry, told: str
) -> dict[str, tuple[str, Predictor]]:
    pixel, compared = best_pixel.find_best_pixel(train, geometry, seed)
    views: dict[str, tuple[str, View]] = {
        "pixels": (f"The image in grey at {min(CELLS, geometry.image_size)} px", shrink),
        "border": ("The outer 9 % of the image at each side", border_only),
        "best_pixel": (_place(pixel, geometry, compared, len(train)), pixel),
    }
    tables = iterate_views(train_on, geometry, tuple(view for _, view in views.values()))
    return {
        name: (
            f"{looks_at}; logistic regression, {told}.",
            PixelRegression(geometry, view, fit_pixel_regression(table, train_on.labels), classes),
        )
        for (name, (looks_at, view)), table in zip(views.items(), tables, strict=True)
    }


def _metadata(train_on: Images, classes: int, seed: int, told: str) -> tuple[str, Predictor]:
    predictor = file_metadata.fit_metadata_classifier(train_on, classes, seed)
    if not predictor.columns:
        return (
            "Nothing: the source tells no file size, and the images are alike in size, depth and "
            "channels; the majority, therefore.",
            predictor,
        )
    columns = ", ".join(predictor.columns)
    return f"No pixel, but {columns}; gradient boosted trees, {told}.", predictor


def _on_validation(predictors: dict[str, Predictor], val: Images) -> dict[str, Probabilities]:
    """Validation probabilities by name; the pixels are read once for all that look at them."""
    seeing = {name: p for name, p in predictors.items() if isinstance(p, PixelRegression)}
    seen = dict(zip(seeing, predict_all(list(seeing.values()), val), strict=True))
    return {name: seen[name] if name in seen else p(val) for name, p in predictors.items()}


def _place(pixel: OnePixel, geometry: Geometry, compared: int, of: int) -> str:
    return (
        f"The value of one pixel at {geometry.image_size} px (row {pixel.row}, column "
        f"{pixel.column}, channel {pixel.channel}, from 0), which separates the classes best by "
        f"ranks in {_count(compared, of)} training images"
    )


def _count(some: int, of: int) -> str:
    return f"all {of}" if some == of else f"{some} of {of}"
