"""Inputs that trials share through Ray's object store: images and weights, once per node.

Trials get references and read the arrays in place, without a copy. Large arrays that are files
already are memory-mapped instead. The test split is never put into the store.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray

from tune_bio.datasets.cache.arrays import mapped_file
from tune_bio.datasets.feature_arrays import Features
from tune_bio.datasets.pixels import PixelFormat, Rows
from tune_bio.datasets.row_view import base_array
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.trial_data import PreparedSplit, TrialData, resplit_data
from tune_bio.errors import DataError
from tune_bio.models.weights.pretrained import Arrays, as_tensors
from tune_bio.ray_tune.connection import available_nodes
from tune_bio.reuse.feature_store import FeatureFiles
from tune_bio.reuse.frozen_features import FrozenPart
from tune_bio.space.search_space import ModelWeights
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.state import Tensors

Array = npt.NDArray[Any]
SharedArray = Path | ray.ObjectRef[Any]


@dataclass(frozen=True)
class _SharedData:
    """`TrialData` with references or files instead of arrays."""

    arrays: tuple[SharedArray, ...]
    classes: tuple[str, ...]
    positive: int
    format: PixelFormat


@dataclass(frozen=True)
class SharedFeatures:
    """A feature set: its files, and references for nodes that cannot read them."""

    files: FeatureFiles
    arrays: "ray.ObjectRef[tuple[Features, Features]] | None" = None

    def read(self) -> tuple[Features, Features]:
        """Return the features of train and validation, read in place.

        Raises:
            DataError: the files cannot be read.
        """
        if self.arrays is not None and not self.files.used.is_file():  # on another node
            features: tuple[Features, Features] = ray.get(self.arrays)
            return features
        self.files.touch()
        try:
            return self.files.read()
        except (OSError, ValueError) as error:
            raise DataError(
                f"the features in {self.files.folder} cannot be read ({error})",
                "start the study again; it computes them again",
            ) from error


@dataclass(frozen=True)
class SharedSplit:
    """A re-split of the same images: positions in the study's train followed by validation."""

    train: Rows
    val: Rows
    key: str


@dataclass(frozen=True)
class SharedInputs:
    """References to everything that a trial may need: small enough to send to every actor."""

    data: Mapping[Geometry, _SharedData]
    backbones: Mapping[ModelWeights, "ray.ObjectRef[Arrays]"]
    features: Mapping[FrozenPart, SharedFeatures] = field(default_factory=dict)
    splits: Mapping[int, "ray.ObjectRef[SharedSplit]"] = field(default_factory=dict)

    def trial_data(self, config: TrialConfig, split: int = 0) -> TrialData:
        """Return train and validation at the configuration's geometry, read in place.

        Stored features of its frozen part are included. `split` is the number of a re-split; 0 is
        the study's own split.
        """
        data = self._own_split(config)
        if split == 0:
            return data
        resplit = ray.get(self.splits[split])
        return resplit_data(data, resplit.train, resplit.val, resplit.key)

    def _own_split(self, config: TrialConfig) -> TrialData:
        shared = self.data[Geometry.of(config)]
        pixels, labels, val_pixels, val_labels = map(_read, shared.arrays)
        data = TrialData(
            PreparedSplit(pixels, labels),
            PreparedSplit(val_pixels, val_labels),
            shared.classes,
            shared.positive,
            shared.format,
        )
        features = self._features(config)
        if features is None:
            return data
        train, val = features.read()
        return data.with_features(features.files.cut, train, val, key=features.files.folder.name)

    def backbone(self, config: TrialConfig) -> Tensors | None:
        """Return the configuration's pretrained backbone; None if it has or needs none."""
        probe = config.freeze == "backbone" and self._features(config) is not None
        if config.weights == "none" or probe:
            return None
        return as_tensors(ray.get(self.backbones[config.model, config.weights]))

    @property
    def files(self) -> list[Path]:
        """The cached files that trials read: images, and files with the time of use of features."""
        arrays = [array for data in self.data.values() for array in data.arrays]
        images = [array for array in arrays if isinstance(array, Path)]
        return [*images, *(features.files.used for features in self.features.values())]

    def with_features(self, features: Mapping[FrozenPart, SharedFeatures]) -> "SharedInputs":
        """Return these inputs with the features of frozen parts."""
        return replace(self, features=features)

    def with_splits(self, splits: Mapping[int, SharedSplit]) -> "SharedInputs":
        """Return these inputs with the re-splits, by number."""
        return replace(self, splits={number: ray.put(split) for number, split in splits.items()})

    def _features(self, config: TrialConfig) -> SharedFeatures | None:
        part = FrozenPart.of(config)
        return None if part is None else self.features.get(part)


def share_inputs(
    data: Mapping[Geometry, TrialData], backbones: Mapping[ModelWeights, Arrays]
) -> SharedInputs:
    """Put images and weights into the object store, and return the references."""
    return SharedInputs(
        data={geometry: _share_data(prepared) for geometry, prepared in data.items()},
        backbones={pair: ray.put(arrays) for pair, arrays in backbones.items()},
    )


def share_features(files: FeatureFiles) -> SharedFeatures:
    """Share a feature set by its files and, among several nodes, through the object store."""
    files.touch()
    if len(available_nodes()) == 1:
        return SharedFeatures(files)
    # Other nodes may not see the files; this node maps them, and so does not hold them twice.
    train, val = files.read()
    return SharedFeatures(files, ray.put((np.asarray(train), np.asarray(val))))


def _share_data(data: TrialData) -> _SharedData:
    train, val = base_array(data.train.pixels), base_array(data.val.pixels)
    arrays = (train, data.train.labels, val, data.val.labels)
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
