"""`best/`: a model that a person can use, without the search that found it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch

from tune_bio.config import TrialConfig
from tune_bio.datasets.images import Dataset, as_pixels
from tune_bio.datasets.transforms import Transform
from tune_bio.errors import DataError, ResultsError
from tune_bio.files import replacing, write_text
from tune_bio.models import Classifier, build_model, input_transform
from tune_bio.training import Tensors, predict

MODEL, CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class TrainedModel:
    """A trained classifier with everything that its use needs.

    `validation` holds the scores that were recorded when it was trained.
    """

    model: Classifier
    config: TrialConfig
    transform: Transform
    classes: tuple[str, ...]
    channels: int
    validation: Mapping[str, float]

    def predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Class probabilities, (n, classes), of images (n, H, W) or (n, H, W, C), uint8.

        Raises:
            DataError: another dtype, shape or number of channels than it was trained on.
        """
        wanted = "(n, H, W)" if self.channels == 1 else "(n, H, W, 3)"
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            raise DataError(
                f"images are {images.dtype} of shape {images.shape}", f"give uint8, {wanted}"
            )
        pixels = as_pixels(images)
        if pixels.shape[3] != self.channels:
            raise DataError(
                f"images have {pixels.shape[3]} channels and the model was trained on "
                f"{self.channels}",
                f"give {wanted}",
            )
        return predict(self.model, self.transform, self.config, self.transform.resize(pixels))


def load_model(folder: str | Path) -> TrainedModel:
    """Load the best model of a study, from `results/NAME` (or its `best` folder).

    Raises:
        ResultsError: there is none, or its files are damaged.
    """
    path = Path(folder)
    path = path if (path / CONFIG).is_file() else path / "best"
    try:
        stored = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        weights = safetensors.torch.load_file(path / MODEL)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise ResultsError(
            f"no model can be loaded from {path} ({error})", "give results/NAME of a finished study"
        ) from error
    return _rebuild(path, stored, weights)


def export(
    folder: Path,
    config: TrialConfig,
    dataset: Dataset,
    *,
    backbone: Tensors | None,
    trained: Tensors,
    about: Mapping[str, Any],
) -> None:
    """Write a model and what it needs to `folder`.

    Args:
        folder: made if need be.
        config: rebuilds the architecture.
        dataset: gives the classes and the number of channels.
        backbone: the pretrained backbone, where the trained part is the head alone.
        trained: the part of the weights that training changed.
        about: further values for config.json: trial, epoch, recorded scores.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = build_model(config, len(dataset.classes), dataset.channels)
    if backbone is not None:
        model.backbone.load_state_dict(backbone)
    model.load_state_dict({**model.state_dict(), **trained})
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with replacing(folder / MODEL) as temporary:
        safetensors.torch.save_file(weights, temporary)
    described = {
        **about,
        "hyperparameters": {**config.params(), "seed": config.seed},
        "classes": list(dataset.classes),
        "positive_class": dataset.classes[dataset.positive],
        "channels": dataset.channels,
        "transform": input_transform(config, dataset.channels).to_json(),
        # Fixed on validation before the test set is opened; until then there is none.
        "threshold": None,
        "torch": torch.__version__,
    }
    write_text(folder / CONFIG, json.dumps(described, indent=2) + "\n")


def _rebuild(path: Path, stored: dict[str, Any], weights: Tensors) -> TrainedModel:
    try:
        config = TrialConfig.of(stored["hyperparameters"])
        classes, channels = tuple(stored["classes"]), stored["channels"]
        transform = Transform.from_json(stored["transform"])
        model = build_model(config, len(classes), channels)
        model.load_state_dict(weights)
        return TrainedModel(
            model.eval(), config, transform, classes, channels, stored["validation"]
        )
    except (KeyError, TypeError, RuntimeError) as error:
        raise ResultsError(
            f"{path / CONFIG} and {MODEL} do not fit together ({type(error).__name__})",
            "give results/NAME of a finished study, as it was written",
        ) from error
