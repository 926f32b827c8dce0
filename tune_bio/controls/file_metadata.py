"""A predictor that uses no pixels, only the metadata of an image's file."""

from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier

from tune_bio.common.seeding import derive
from tune_bio.controls.control import fit_single_threaded, probabilities_by_class
from tune_bio.controls.views import Table
from tune_bio.datasets.images import Images
from tune_bio.training.metrics import Probabilities


@dataclass(frozen=True)
class MetadataClassifier:
    """A fitted model on some metadata columns; a column that other images lack is missing (NaN)."""

    columns: tuple[str, ...]
    model: BaseEstimator
    classes: int

    def __call__(self, images: Images) -> Probabilities:
        """Return class probabilities, (n, classes)."""
        return probabilities_by_class(self.model, _table(images, self.columns), self.classes)


def fit_metadata_classifier(images: Images, classes: int, seed: int) -> MetadataClassifier:
    """Fit gradient boosted trees on the metadata that differ between images.

    Without such metadata, fit the class frequencies.
    """
    facts = images.facts()
    columns = tuple(name for name, values in facts.items() if len(np.unique(values)) > 1)
    model = _trees(seed) if columns else DummyClassifier(strategy="prior")
    fit_single_threaded(model, _table(images, columns), images.labels)
    return MetadataClassifier(columns, model, classes)


def _trees(seed: int) -> BaseEstimator:
    return HistGradientBoostingClassifier(
        max_iter=50,
        max_leaf_nodes=8,
        early_stopping=False,
        random_state=derive(seed, "trees") % 2**32,
    )


def _table(images: Images, columns: tuple[str, ...]) -> Table:
    facts = images.facts() if columns else {}
    missing = np.full(len(images), np.nan)
    table = [facts.get(name, missing) for name in columns]
    return np.stack(table, axis=1) if table else np.zeros((len(images), 1))
