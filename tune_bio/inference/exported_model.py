"""Exported models (`best/`), which can be used without the study that found them."""

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

from tune_bio.common.files import replacing, write_text
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.pixels import Pixels
from tune_bio.datasets.sources.array_source import as_pixels
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.transforms.transform import Transform
from tune_bio.errors import DataError, ResultsError
from tune_bio.models.build import build_model, input_transform
from tune_bio.models.classifier import Classifier, load_over
from tune_bio.models.weights.pretrained import fit_backbone
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.fit import predict
from tune_bio.training.state import Tensors

MODEL, CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class TrainedModel:
    """A trained classifier with everything needed to use it.

    `positive` is the index of the positive class; `validation` holds the scores recorded in
    training. With two classes, an image is classified as positive at or above `threshold`, which
    was chosen on validation.
    """

    model: Classifier
    config: TrialConfig
    transform: Transform
    classes: tuple[str, ...]
    positive: int
    channels: int
    dtype: np.dtype[np.uint8 | np.uint16]
    validation: Mapping[str, float]
    threshold: float | None = None

    def classify(self, images: Pixels) -> npt.NDArray[np.str_]:
        """Return the class name of each image, (n,); with two classes, by the recorded threshold.

        Raises the same errors as `predict`.
        """
        probabilities = self.predict(images)
        predicted = probabilities.argmax(axis=1)
        if self.threshold is not None:
            above = probabilities[:, self.positive] >= self.threshold
            predicted = np.where(above, self.positive, 1 - self.positive)
        names: npt.NDArray[np.str_] = np.array(self.classes)[predicted]
        return names

    def predict(self, images: Pixels) -> npt.NDArray[np.float64]:
        """Predict class probabilities, (n, classes), for images (n, H, W) or (n, H, W, C).

        The images have the dtype of the training images, uint8 or uint16.

        Raises:
            DataError: the dtype, shape or number of channels is not that of the training images.
        """
        expected = "(n, H, W)" if self.channels == 1 else "(n, H, W, 3)"
        if images.dtype != self.dtype or images.ndim not in (3, 4):
            raise DataError(
                f"images are {images.dtype} of shape {images.shape}",
                f"give {self.dtype} of shape {expected}, as in training",
            )
        pixels = as_pixels(images, "the images")
        if pixels.shape[3] != self.channels:
            raise DataError(
                f"images have {pixels.shape[3]} channels and the model was trained on "
                f"{self.channels}",
                f"give images of shape {expected}",
            )
        return self.predict_prepared(self.transform.geometry.apply(pixels))

    def predict_prepared(self, pixels: Pixels) -> npt.NDArray[np.float64]:
        """Predict class probabilities, (n, classes), for images at the model's geometry."""
        return predict(self.model, self.transform, self.config, pixels)


def load_model(folder: str | Path) -> TrainedModel:
    """Load the best model of a study, from `results/NAME` (or its `best` folder).

    Raises:
        ResultsError: there is no model, or its files are damaged.
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
    """Write a model and everything it needs to `folder`.

    Args:
        folder: created if necessary.
        config: defines the architecture.
        dataset: defines the classes and the pixel format.
        backbone: the pretrained weights that training started from, if any.
        trained: the part of the weights that training changed.
        about: further values for config.json: trial, epoch, recorded scores.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = assemble(config, dataset, backbone, trained)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with replacing(folder / MODEL) as temporary:
        safetensors.torch.save_file(weights, temporary)
    description = {
        **about,
        "hyperparameters": {**config.params(), "seed": config.seed},
        "classes": list(dataset.classes),
        "positive_class": dataset.classes[dataset.positive],
        "channels": dataset.channels,
        "dtype": dataset.dtype.name,
        "transform": input_transform(config, dataset.pixel_format(Geometry.of(config))).to_json(),
        "threshold": None,  # `record` sets it, from the scores of the exported model
        "torch": torch.__version__,
    }
    write_text(folder / CONFIG, json.dumps(description, indent=2) + "\n")


def assemble(
    config: TrialConfig, dataset: Dataset, backbone: Tensors | None, trained: Tensors
) -> Classifier:
    """Build a trained model from the parts that `export` takes, in evaluation mode."""
    model = build_model(config, len(dataset.classes), dataset.channels)
    if backbone is not None:
        fit_backbone(config.model, model.backbone, backbone)
    load_over(model, trained)
    return model.eval()


def record(folder: Path, **values: Any) -> None:
    """Replace values of config.json, such as `validation` and `threshold`."""
    stored = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    write_text(folder / CONFIG, json.dumps({**stored, **values}, indent=2) + "\n")


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
            stored["threshold"],
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ResultsError(
            f"{path / CONFIG} and {MODEL} do not fit together ({type(error).__name__})",
            "give results/NAME of a finished study, unchanged",
        ) from error
