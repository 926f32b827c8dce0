"""Predictions: the probabilities of each image, as a table and as arrays."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

Predictions = dict[str, npt.NDArray[np.float32]]  # of each trial, (n, classes)


@dataclass(frozen=True)
class SplitImages:
    """The images of a split in the table of predictions: name, patient and label of each."""

    images: npt.NDArray[np.str_]
    patients: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]


def prediction_table(
    split: str,
    split_images: SplitImages,
    predictions: Mapping[str, npt.NDArray[np.float32]],
    classes: tuple[str, ...],
) -> pa.Table:
    """Return every trial's predictions on a split, one row per trial and image, sorted by trial."""
    predictions = dict(sorted(predictions.items()))  # not in the order in which trials ended
    n, trials = len(split_images.images), len(predictions)
    empty = np.empty((0, len(classes)), np.float32)
    stacked = np.concatenate(list(predictions.values())) if predictions else empty
    columns: dict[str, Any] = {
        "trial": pa.array(np.repeat(np.array(list(predictions), dtype=object), n), pa.string()),
        "split": pa.array([split] * (n * trials), pa.string()),
        "image": pa.array(np.tile(split_images.images.astype(object), trials), pa.string()),
        "patient": pa.array(np.tile(split_images.patients.astype(object), trials), pa.string()),
        "label": np.tile(split_images.labels, trials),
    }
    columns |= {f"p_{name}": stacked[:, k] for k, name in enumerate(classes)}
    return pa.table(columns)


def stored_predictions(
    table: pd.DataFrame, classes: tuple[str, ...]
) -> Iterator[tuple[str, str, SplitImages, npt.NDArray[np.float32]]]:
    """Yield each trial and split of a table: trial, split, images and probabilities."""
    columns = [f"p_{name}" for name in classes]
    for (trial, split), rows in table.groupby(["trial", "split"], sort=False):
        images = SplitImages(*(rows[name].to_numpy() for name in ("image", "patient", "label")))
        yield str(trial), str(split), images, rows[columns].to_numpy(np.float32)
