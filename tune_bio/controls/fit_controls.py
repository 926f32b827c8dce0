"""The controls of a data set, fitted on train and scored on validation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.dummy import DummyClassifier

from tune_bio.controls import best_pixel, file_metadata
from tune_bio.controls.control import Control, Predictor, probabilities_by_class
from tune_bio.controls.pixel_regression import PixelRegression, fit_pixel_regression, predict_all
from tune_bio.controls.sampling import sample_rows
from tune_bio.controls.views import CELLS, OnePixel, View, border_only, shrink, view_tables
from tune_bio.datasets.images import Images
from tune_bio.datasets.sources.collection import default_geometries
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.training import metrics
from tune_bio.training.metrics import Probabilities

CONTROLS = ("majority", "pixels", "border", "metadata", "best_pixel")
FITTED_ON = 10_000  # training images at most; simple predictors gain little from more


def run_controls(
    train: Images,
    val: Images,
    *,
    classes: Sequence[str],
    positive: int,
    seed: int,
    geometry: Geometry | None = None,
) -> list[Control]:
    """Fit and score all controls, in the order of `CONTROLS`; equal arguments give equal results.

    Args:
        train: images to fit on, at most 10,000 of them (drawn by `seed`).
        val: images to score on; every class must occur.
        classes: names of the classes.
        positive: index of the positive class.
        seed: seed of the draws.
        geometry: geometry of the models that the controls are compared with (default: the whole
            image at no more than 224 px). The controls see only what the models see: pixels that
            are cropped away cannot explain a model's score.
    """
    geometry = geometry or default_geometries(train.source.size)[0]
    sample = train.take(sample_rows(train.labels, FITTED_ON, seed, "controls"))
    fitted_on = f"fitted on {_count(len(sample), len(train))} training images"
    predictors: dict[str, tuple[str, Predictor]] = {
        "majority": _majority_control(train, len(classes)),
        **_pixel_controls(train, sample, len(classes), seed, geometry, fitted_on),
        "metadata": _metadata_control(sample, len(classes), seed, fitted_on),
    }
    probabilities = _predict_validation({name: p for name, (_, p) in predictors.items()}, val)
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
    """A predictor that returns the class frequencies for every image."""

    model: DummyClassifier
    classes: int

    def __call__(self, images: Images) -> Probabilities:
        """Return class probabilities, (n, classes)."""
        return probabilities_by_class(self.model, np.zeros((len(images), 1)), self.classes)


def _majority_control(train: Images, classes: int) -> tuple[str, Predictor]:
    model = DummyClassifier(strategy="prior").fit(np.zeros((len(train), 1)), train.labels)
    return "No image, only the frequency of each class in training.", Majority(model, classes)


def _pixel_controls(
    train: Images, sample: Images, classes: int, seed: int, geometry: Geometry, fitted_on: str
) -> dict[str, tuple[str, Predictor]]:
    pixel, images_compared = best_pixel.find_best_pixel(train, geometry, seed)
    views: dict[str, tuple[str, View]] = {
        "pixels": (f"The image in grey at {min(CELLS, geometry.image_size)} px", shrink),
        "border": ("The outer 9 % of the image on each side", border_only),
        "best_pixel": (_describe_pixel(pixel, geometry, images_compared, len(train)), pixel),
    }
    tables = view_tables(sample, geometry, tuple(view for _, view in views.values()))
    return {
        name: (
            f"{looks_at}; logistic regression, {fitted_on}.",
            PixelRegression(geometry, view, fit_pixel_regression(table, sample.labels), classes),
        )
        for (name, (looks_at, view)), table in zip(views.items(), tables, strict=True)
    }


def _metadata_control(
    sample: Images, classes: int, seed: int, fitted_on: str
) -> tuple[str, Predictor]:
    predictor = file_metadata.fit_metadata_classifier(sample, classes, seed)
    if not predictor.columns:
        return (
            "Nothing: the source has no file sizes, and all images have the same size, bit depth "
            "and channels; the class frequencies are used instead.",
            predictor,
        )
    columns = ", ".join(predictor.columns)
    return f"No pixels, only {columns}; gradient boosted trees, {fitted_on}.", predictor


def _predict_validation(predictors: dict[str, Predictor], val: Images) -> dict[str, Probabilities]:
    """Return validation probabilities by name, reading the pixels once for all predictors."""
    on_pixels = {name: p for name, p in predictors.items() if isinstance(p, PixelRegression)}
    by_name = dict(zip(on_pixels, predict_all(list(on_pixels.values()), val), strict=True))
    return {name: by_name[name] if name in by_name else p(val) for name, p in predictors.items()}


def _describe_pixel(pixel: OnePixel, geometry: Geometry, images_compared: int, total: int) -> str:
    return (
        f"The value of one pixel at {geometry.image_size} px (row {pixel.row}, column "
        f"{pixel.column}, channel {pixel.channel}, from 0), which separates the classes best by "
        f"rank in {_count(images_compared, total)} training images"
    )


def _count(part: int, total: int) -> str:
    return f"all {total}" if part == total else f"{part} of {total}"
