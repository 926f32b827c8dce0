"""What trials share through Ray's object store: images and weights, once a node.

Trials get references and read the arrays in place, without a copy. The test split is never put
here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
import torch

from tune_bio.config import TrialConfig
from tune_bio.datasets.transforms import PreparedSplit, TrialData
from tune_bio.models.pretrained import Arrays
from tune_bio.space import Pair
from tune_bio.training import Tensors


@dataclass(frozen=True)
class _SharedData:
    """`TrialData` with references in the place of its arrays."""

    arrays: tuple["ray.ObjectRef[object]", ...]
    classes: tuple[str, ...]
    positive: int


@dataclass(frozen=True)
class Shared:
    """References to everything that a trial may need; small, and sent to every actor."""

    data: Mapping[int, _SharedData]  # by image size
    backbones: Mapping[Pair, "ray.ObjectRef[Arrays]"]

    def trial_data(self, config: TrialConfig) -> TrialData:
        """Train and validation at the configuration's image size, read in place."""
        shared = self.data[config.image_size]
        arrays: list[Any] = ray.get(list(shared.arrays))
        train, train_labels, val, val_labels = arrays
        return TrialData(
            PreparedSplit(train, train_labels),
            PreparedSplit(val, val_labels),
            shared.classes,
            shared.positive,
        )

    def backbone(self, config: TrialConfig) -> Tensors | None:
        """The pretrained backbone of the configuration, or None where it has none."""
        if config.weights == "none":
            return None
        arrays = ray.get(self.backbones[config.model, config.weights])
        # Copied: loading them into a model reads them once, and torch wants to own its memory.
        return {name: torch.tensor(array) for name, array in arrays.items()}


def share(data: Mapping[int, TrialData], backbones: Mapping[Pair, Arrays]) -> Shared:
    """Put images and weights into the object store."""
    return Shared(
        data={size: _share_data(prepared) for size, prepared in data.items()},
        backbones={pair: ray.put(arrays) for pair, arrays in backbones.items()},
    )


def _share_data(data: TrialData) -> _SharedData:
    arrays = (data.train.pixels, data.train.labels, data.val.pixels, data.val.labels)
    return _SharedData(tuple(ray.put(array) for array in arrays), data.classes, data.positive)
