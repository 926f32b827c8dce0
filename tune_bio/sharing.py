"""What trials share through Ray's object store: images and weights, once a node.

Trials get references and read the arrays in place, without a copy. Arrays that are files already,
since they are large, are mapped from there. The test split is never put here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
import torch

from tune_bio.config import TrialConfig
from tune_bio.datasets.cache import mapped_file
from tune_bio.datasets.geometry import Geometry
from tune_bio.datasets.pixels import PixelFormat
from tune_bio.datasets.transforms import PreparedSplit, TrialData
from tune_bio.errors import DataError
from tune_bio.models.pretrained import Arrays
from tune_bio.space import Pair
from tune_bio.training import Tensors

Array = npt.NDArray[Any]
SharedArray = Path | ray.ObjectRef[Any]


@dataclass(frozen=True)
class _SharedData:
    """`TrialData` with references, or files, in the place of its arrays."""

    arrays: tuple[SharedArray, ...]
    classes: tuple[str, ...]
    positive: int
    format: PixelFormat


@dataclass(frozen=True)
class Shared:
    """References to everything that a trial may need; small, and sent to every actor."""

    data: Mapping[Geometry, _SharedData]
    backbones: Mapping[Pair, "ray.ObjectRef[Arrays]"]

    def trial_data(self, config: TrialConfig) -> TrialData:
        """Train and validation at the configuration's geometry, read in place."""
        shared = self.data[Geometry.of(config)]
        train, train_labels, val, val_labels = map(_read, shared.arrays)
        return TrialData(
            PreparedSplit(train, train_labels),
            PreparedSplit(val, val_labels),
            shared.classes,
            shared.positive,
            shared.format,
        )

    def backbone(self, config: TrialConfig) -> Tensors | None:
        """The pretrained backbone of the configuration, or None where it has none."""
        if config.weights == "none":
            return None
        arrays = ray.get(self.backbones[config.model, config.weights])
        # Copied: loading them into a model reads them once, and torch wants to own its memory.
        return {name: torch.tensor(array) for name, array in arrays.items()}


def share(data: Mapping[Geometry, TrialData], backbones: Mapping[Pair, Arrays]) -> Shared:
    """Put images and weights into the object store."""
    return Shared(
        data={geometry: _share_data(prepared) for geometry, prepared in data.items()},
        backbones={pair: ray.put(arrays) for pair, arrays in backbones.items()},
    )


def _share_data(data: TrialData) -> _SharedData:
    arrays = (data.train.pixels, data.train.labels, data.val.pixels, data.val.labels)
    shared = tuple(map(_share_array, arrays))
    return _SharedData(shared, data.classes, data.positive, data.format)


def _share_array(array: Array) -> SharedArray:
    return mapped_file(array) or ray.put(array)


def _read(shared: SharedArray) -> Array:
    if not isinstance(shared, Path):
        array: Array = ray.get(shared)
        return array
    try:
        mapped: Array = np.load(shared, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise DataError(
            f"the images in {shared} cannot be read on this node ({error.strerror})",
            "give a folder that all nodes share, with --cache-dir",
        ) from error
    return mapped
