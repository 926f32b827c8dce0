"""The state of a trial between two epochs: everything that the next epoch depends on."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tune_bio.datasets.feature_arrays import FeatureCut
from tune_bio.datasets.transforms.augmentation import build_augmentation
from tune_bio.datasets.trial_data import TrialData
from tune_bio.models.build import build_model, build_probe, input_transform
from tune_bio.models.classifier import Classifier, load_over
from tune_bio.models.freezing import freeze, frozen_groups, phase, trainable_groups, trained_names
from tune_bio.models.weights.pretrained import fit_backbone
from tune_bio.space.trial_config import METRIC_MODES, TrialConfig
from tune_bio.training.losses import build_loss
from tune_bio.training.lr_schedules import Step, apply_schedule
from tune_bio.training.optimizer import build_optimizer

Tensors = dict[str, torch.Tensor]
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Best:
    """The first epoch with the best value of the metric.

    `weights` is the trained part of the model, on the CPU; `probabilities` are those of the
    validation split, (n, classes) float32.
    """

    epoch: int
    value: float
    weights: Tensors
    probabilities: npt.NDArray[np.float32]


class TrainingState:
    """Everything that the next epoch depends on; can be saved as tensors and JSON values."""

    def __init__(
        self,
        config: TrialConfig,
        data: TrialData,
        *,
        metric: str = "val_auroc",
        backbone: Tensors | None = None,
        device: torch.device = CPU,
    ) -> None:
        """Create the state of a trial before its first epoch.

        `backbone` holds the pretrained weights that `config.weights` names. It is required if and
        only if that is not "none", and ignored if only the head trains, on features.
        """
        self.config, self.metric, self.device, self.cut = config, metric, device, data.cut
        self.model = _build(config, data, backbone)
        part = self.model.head if is_probe(config, data) else self.model
        part.to(device)
        self.trained = trained_names(self.model, config)
        self.transform = input_transform(config, data.format)
        self.augment = build_augmentation(config.augment)
        self.loss = build_loss(config, data.train.labels, len(data.classes), device)
        self.epoch = 0
        self.best: Best | None = None
        self.diverged = False
        self._enter_phase()

    @property
    def finished(self) -> bool:
        """True if the trial ends here by itself: full length, patience exhausted, or diverged."""
        since_best = self.epoch - (self.best.epoch if self.best else 0)
        out_of_patience = 0 < self.config.patience <= since_best
        return self.epoch >= self.config.epochs or out_of_patience or self.diverged

    @property
    def features_from(self) -> FeatureCut | None:
        """The cut from which the network runs in the next epoch; None if it runs on images."""
        config, epoch = self.config, min(self.epoch + 1, self.config.epochs)
        groups = max(1, len(self.model.stages))
        as_in_epoch_1 = frozen_groups(config, epoch, groups) == frozen_groups(config, 1, groups)
        return self.cut if as_in_epoch_1 else None

    @property
    def trainable_parameters(self) -> int:
        """The number of parameters that training changes in any epoch."""
        named = self.model.named_parameters()
        return sum(parameter.numel() for name, parameter in named if name in self.trained)

    def trained_weights(self) -> Tensors:
        """Copy the part of the model's state that training changes to the CPU."""
        state = self.model.state_dict()
        return {name: state[name].detach().to("cpu", copy=True) for name in sorted(self.trained)}

    def set_rate(self, batch: int = 0, batches: int = 1) -> float:
        """Set the learning rate for a batch (from 0) of the next epoch; return it."""
        first, length = phase(self.config, self.epoch + 1)
        step = Step(self.epoch + 1 - first, length, batch, batches)
        return apply_schedule(self.config, self.optimizer, step)

    def advance(self) -> None:
        """Count an epoch as done; newly unfrozen parameters join the optimizer."""
        self.epoch += 1
        if self.epoch >= self.config.epochs:
            return
        if phase(self.config, self.epoch + 1)[0] == self.epoch + 1:
            self._enter_phase()
            return
        freeze(self.model, self.config, self.epoch + 1)
        groups = trainable_groups(self.model)
        for group in groups[len(self.optimizer.param_groups) :]:
            self.optimizer.add_param_group({"params": group})

    def consider(self, value: float, probabilities: npt.NDArray[np.float64]) -> None:
        """Keep this epoch's weights if its metric is strictly better than all before."""
        sign = 1 if METRIC_MODES[self.metric] == "max" else -1
        if self.best is None or sign * value > sign * self.best.value:
            weights = self.trained_weights()
            self.best = Best(self.epoch, value, weights, probabilities.astype(np.float32))

    def save(self) -> tuple[Tensors, Tensors, dict[str, Any]]:
        """Return (weights, optimizer tensors, JSON values) of the current state, without `best`."""
        optimizer = {
            f"{index}.{name}": tensor.clone()
            for index, slots in self.optimizer.state_dict()["state"].items()
            for name, tensor in slots.items()
            if tensor is not None
        }
        values = {"epoch": self.epoch, "diverged": self.diverged}
        return self.trained_weights(), optimizer, values

    def load(
        self, weights: Tensors, optimizer: Tensors, values: dict[str, Any], best: Best | None
    ) -> None:
        """Continue from what `save` returned, exactly as if the trial had not been interrupted.

        The state may come from a shorter trial, which never trained what this one unfreezes later.
        """
        untouched = self.trained_weights()
        self.epoch, self.diverged = values["epoch"], values["diverged"]
        self.best = best and replace(best, weights={**untouched, **best.weights})
        self._enter_phase()
        self._load_weights(weights)
        if phase(self.config, self.epoch + 1)[0] == self.epoch + 1:
            return  # a new phase has a fresh optimizer
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in optimizer.items():
            index, _, name = key.partition(".")
            slots.setdefault(int(index), {})[name] = tensor
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for number, parameter in enumerate(parameters):
            for slot, tensor in slots.get(number, {}).items():
                if tensor.shape == parameter.shape:
                    # Fused optimizers walk through the memory of both in parallel: in another
                    # memory format, the momentum of one weight would move another.
                    like = torch.empty_like(parameter, requires_grad=False)
                    slots[number][slot] = like.copy_(tensor)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})

    def with_best_weights(self) -> Classifier:
        """Load the best epoch's weights, until `with_last_weights`; return the model."""
        assert self.best is not None
        self._last = self.trained_weights()
        self._load_weights(self.best.weights)
        return self.model

    def with_last_weights(self) -> Classifier:
        """Load the last epoch's weights again; return the model."""
        self._load_weights(self._last)
        return self.model

    def _enter_phase(self) -> None:
        """Freeze what the next epoch freezes, and start a fresh optimizer for the phase."""
        freeze(self.model, self.config, min(self.epoch + 1, self.config.epochs))
        self.optimizer = build_optimizer(self.config, trainable_groups(self.model))

    def _load_weights(self, weights: Tensors) -> None:
        load_over(self.model, weights)


def is_probe(config: TrialConfig, data: TrialData) -> bool:
    """Return True if the trial never runs its backbone: only the head trains, on features."""
    return data.cut is not None and config.freeze == "backbone"


def _build(config: TrialConfig, data: TrialData, backbone: Tensors | None) -> Classifier:
    """Build the model before its first epoch, with pretrained weights if they are needed."""
    classes, channels = len(data.classes), data.format.channels
    if is_probe(config, data):
        return build_probe(config, classes, channels)
    if (backbone is None) != (config.weights == "none"):
        raise ValueError(f"weights={config.weights!r} does not fit the given backbone")
    model = build_model(config, classes, channels)
    if backbone is not None:
        fit_backbone(config.model, model.backbone, backbone)
    return model
