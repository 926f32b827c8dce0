"""The shuffled control: a training on labels that mean nothing, as a Ray task."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
import torch

from tune_bio.ray_tune.failures import reason_of
from tune_bio.ray_tune.object_store import SharedInputs
from tune_bio.ray_tune.resources import Allotment
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.fit import log_probabilities, train_epoch
from tune_bio.training.metrics import Labels, Probabilities
from tune_bio.training.state import TrainingState


class TrainingError(Exception):
    """A training on shuffled labels failed; the message says why."""


@dataclass(frozen=True)
class ShuffledTraining:
    """A training on shuffled labels that runs as a Ray task."""

    task: "ray.ObjectRef[Any]"

    def probabilities(self) -> Probabilities:
        """Wait for the validation probabilities after the last epoch, (n, classes).

        Raises:
            TrainingError: the task failed.
        """
        try:
            probabilities: Probabilities = ray.get(self.task)
        except ray.exceptions.RayError as error:
            raise TrainingError(reason_of(error)) from error
        return probabilities


def start_shuffled(
    shared: SharedInputs, allotment: Allotment, config: TrialConfig, train: Labels, val: Labels
) -> ShuffledTraining:
    """Start to train a configuration on these labels, in parallel with other trials."""
    task = ray.remote(_train).options(
        num_cpus=allotment.cpus, num_gpus=allotment.gpus, max_retries=0
    )
    return ShuffledTraining(task.remote(shared, config, train, val, allotment))


def _train(
    shared: SharedInputs, config: TrialConfig, train: Labels, val: Labels, allotment: Allotment
) -> Probabilities:
    torch.set_num_threads(max(1, int(allotment.cpus)))
    device = torch.device("cuda" if allotment.gpus and torch.cuda.is_available() else "cpu")
    # Trained to the last epoch: early stopping would choose the epoch by these very labels.
    config = config.model_copy(update={"patience": 0})
    data = shared.trial_data(config)
    data = replace(data, train=replace(data.train, labels=train), val=replace(data.val, labels=val))
    backbone = shared.backbone(config)
    state = TrainingState(config, data, backbone=backbone, device=device)
    while not state.finished:
        train_epoch(state, data)
    probabilities: Probabilities = np.exp(log_probabilities(state, data.val))
    return probabilities
