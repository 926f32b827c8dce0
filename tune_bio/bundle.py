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
from tune_bio.datasets.array_source import as_pixels
from tune_bio.datasets.geometry import Geometry
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.pixels import Pixels
from tune_bio.datasets.transforms import Transform
from tune_bio.errors import DataError, ResultsError
from tune_bio.files import replacing, write_text
from tune_bio.models import Classifier, build_model, input_transform
from tune_bio.models.classifier import load_over
from tune_bio.models.pretrained import fit_backbone
from tune_bio.training import Tensors, predict

MODEL, CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class TrainedModel:
    """A trained classifier with everything that its use needs.

    `positive` is the index of the positive class; `validation` holds the scores that were
    recorded when it was trained.
    """

    model: Classifier
    config: TrialConfig
    transform: Transform
    classes: tuple[str, ...]
    positive: int
    channels: int
    dtype: np.dtype[np.uint8 | np.uint16]
    validation: Mapping[str, float]

    def predict(self, images: Pixels) -> npt.NDArray[np.float64]:
        """Class probabilities, (n, classes), of images (n, H, W) or (n, H, W, C).

        The images are uint8 or uint16, as those that the model was trained on.

        Raises:
            DataError: another dtype, shape or number of channels than it was trained on.
        """
        wanted = "(n, H, W)" if self.channels == 1 else "(n, H, W, 3)"
        if images.dtype != self.dtype or images.ndim not in (3, 4):
            raise DataError(
                f"images are {images.dtype} of shape {images.shape}",
                f"give {self.dtype}, {wanted}, as the model was trained on",
            )
        pixels = as_pixels(images, "the images")
        if pixels.shape[3] != self.channels:
            raise DataError(
                f"images have {pixels.shape[3]} channels and the model was trained on "
                f"{self.channels}",
                f"give {wanted}",
            )
        return self.predict_prepared(self.transform.geometry.apply(pixels))

    def predict_prepared(self, pixels: Pixels) -> npt.NDArray[np.float64]:
        """Class probabilities, (n, classes), of images that are at the model's geometry."""
        return predict(self.model, self.transform, self.config, pixels)


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
        dataset: gives the classes, and what the numbers in its images mean.
        backbone: the pretrained backbone, where the trained part is the head alone.
        trained: the part of the weights that training changed.
        about: further values for config.json: trial, epoch, recorded scores.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = build_model(config, len(dataset.classes), dataset.channels)
    if backbone is not None:
        fit_backbone(config.model, model.backbone, backbone)
    load_over(model, trained)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with replacing(folder / MODEL) as temporary:
        safetensors.torch.save_file(weights, temporary)
    described = {
        **about,
        "hyperparameters": {**config.params(), "seed": config.seed},
        "classes": list(dataset.classes),
        "positive_class": dataset.classes[dataset.positive],
        "channels": dataset.channels,
        "dtype": dataset.dtype.name,
        "transform": input_transform(config, dataset.pixel_format(Geometry.of(config))).to_json(),
        # Fixed on validation before the test set is opened; until then there is none.
        "threshold": None,
        "torch": torch.__version__,
    }
    write_text(folder / CONFIG, json.dumps(described, indent=2) + "\n")


def record_validation(folder: Path, scores: Mapping[str, float]) -> None:
    """Put these validation scores in the place of those that were exported to `folder`."""
    stored = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    stored["validation"] = dict(scores)
    write_text(folder / CONFIG, json.dumps(stored, indent=2) + "\n")


def _rebuild(path: Path, stored: dict[str, Any], weights: Tensors) -> TrainedModel:
    try:
        config = TrialConfig.of(stored["hyperparameters"])
        classes, channels = tuple(stored["classes"]), stored["channels"]
        transform = Transform.from_json(stored["transform"])
        model = build_model(config, len(classes), channels)
        if weights.keys() != model.state_dict().keys():
            raise KeyError("the weights have other names")
        load_over(model, weights)
        dtype = np.dtype(stored["dtype"])
        positive = classes.index(stored["positive_class"])
        return TrainedModel(
            model.eval(),
            config,
            transform,
            classes,
            positive,
            channels,
            dtype,
            stored["validation"],
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ResultsError(
            f"{path / CONFIG} and {MODEL} do not fit together ({type(error).__name__})",
            "give results/NAME of a finished study, as it was written",
        ) from error
