"""Predictions: probabilities beside the images that they are of, as a table and as arrays."""

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
    """A split as the table of predictions describes it: name, patient and label of each image."""

    images: npt.NDArray[np.str_]
    patients: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]


def prediction_table(
    split: str,
    described: SplitImages,
    predictions: Mapping[str, npt.NDArray[np.float32]],
    classes: tuple[str, ...],
) -> pa.Table:
    """Every trial's predictions on a split, a row a trial and image, the trials in their order."""
    predictions = dict(sorted(predictions.items()))  # and not in the order of their ends
    n, trials = len(described.images), len(predictions)
    empty = np.empty((0, len(classes)), np.float32)
    stacked = np.concatenate(list(predictions.values())) if predictions else empty
    columns: dict[str, Any] = {
        "trial": pa.array(np.repeat(np.array(list(predictions), dtype=object), n), pa.string()),
        "split": pa.array([split] * (n * trials), pa.string()),
        "image": pa.array(np.tile(described.images.astype(object), trials), pa.string()),
        "patient": pa.array(np.tile(described.patients.astype(object), trials), pa.string()),
        "label": np.tile(described.labels, trials),
    }
    columns |= {f"p_{name}": stacked[:, k] for k, name in enumerate(classes)}
    return pa.table(columns)


def stored_predictions(
    table: pd.DataFrame, classes: tuple[str, ...]
) -> Iterator[tuple[str, str, SplitImages, npt.NDArray[np.float32]]]:
    """Of each trial and split that is in a table: trial, split, its images, its probabilities."""
    columns = [f"p_{name}" for name in classes]
    for (trial, split), rows in table.groupby(["trial", "split"], sort=False):
        described = SplitImages(*(rows[name].to_numpy() for name in ("image", "patient", "label")))
        yield str(trial), str(split), described, rows[columns].to_numpy(np.float32)
