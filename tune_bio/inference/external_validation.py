"""External validation: a trained model on images that had no part in the search."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tune_bio.datasets.images import Images
from tune_bio.datasets.opening import read_all, read_all_arrays
from tune_bio.datasets.sources.collection import Collection
from tune_bio.datasets.sources.in_memory import ArrayData
from tune_bio.errors import DataError
from tune_bio.inference.exported_model import TrainedModel, load_model
from tune_bio.training import metrics


@dataclass(frozen=True)
class Evaluation:
    """The performance of a model on a set of images.

    `metrics` are fractions (and `loss`, in natural logarithms) over all images; `predictions`
    has one row per image: image, patient, label, and `p_CLASS` for each class.
    """

    metrics: dict[str, float]
    predictions: pd.DataFrame
    notes: tuple[str, ...]


def evaluate(
    results: str | Path,
    data: str | Path | ArrayData,
    *,
    classes: Sequence[str] | None = None,
    patient_pattern: str | None = None,
    cache_dir: str | Path | None = None,
) -> Evaluation:
    """Score a study's best model on all images of another data set.

    Args:
        results: the folder of a finished study.
        data: a source, as for `--data`, or arrays: (images, labels[, patients]).
        classes: names of the data's classes in order, if a source names them differently from
            the model (such as the numbers of an .npz). Numbers in arrays are indices of the
            model's classes.
        patient_pattern: a regular expression that finds the patient in a file's path.
        cache_dir: folder for decoded images.

    Raises:
        ResultsError: there is no model in `results`.
        DataError: the data cannot be read, or its classes or images do not match the model.
    """
    model = load_model(results)
    cache = None if cache_dir is None else Path(cache_dir)
    if isinstance(data, str | Path):
        collection = read_all(
            str(data),
            patient_pattern=patient_pattern,
            cache_dir=cache,
            geometries=lambda size: [model.transform.geometry],
        )
    else:
        collection = read_all_arrays(data, classes or model.classes, cache_dir=cache)
    images, labels = collection.everything, _labels(model, collection, classes)
    _refuse_incompatible_images(model, images)
    probabilities = model.predict_prepared(images.at(model.transform.geometry))
    return Evaluation(
        metrics.compute_metrics(labels, probabilities, model.positive),
        _table(model, images, labels, probabilities),
        collection.notes,
    )


def _labels(
    model: TrainedModel, collection: Collection, classes: Sequence[str] | None
) -> metrics.Labels:
    """Return the labels of the images as indices of the model's classes."""
    names = collection.classes if classes is None else tuple(classes)
    if sorted(names) != sorted(model.classes):
        raise DataError(
            f"{collection.name} has the classes {', '.join(names)}, and the model "
            f"{', '.join(model.classes)}",
            "give data with exactly the model's classes, or name the data's classes in order with "
            "classes=[...]",
        )
    model_index = np.array([model.classes.index(name) for name in names], dtype=np.int64)
    labels: metrics.Labels = model_index[collection.everything.labels]
    absent = [name for k, name in enumerate(model.classes) if not (labels == k).any()]
    if absent:
        raise DataError(
            f"{collection.name} has no image of class {absent[0]!r}",
            "every class must occur, because AUROC is undefined otherwise",
        )
    return labels


def _refuse_incompatible_images(model: TrainedModel, images: Images) -> None:
    source = images.source
    if (source.channels, source.dtype) != (model.channels, model.dtype):
        raise DataError(
            f"the images have {source.channels} channels of {source.dtype}, and the model was "
            f"trained on {model.channels} of {model.dtype}",
            "convert them",
        )


def _table(
    model: TrainedModel,
    images: Images,
    labels: metrics.Labels,
    probabilities: metrics.Probabilities,
) -> pd.DataFrame:
    identity = {"image": images.names, "patient": images.patients, "label": labels}
    scores = {f"p_{name}": probabilities[:, k] for k, name in enumerate(model.classes)}
    return pd.DataFrame({**identity, **scores})
