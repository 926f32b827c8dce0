"""A training on labels that mean nothing, as a task of Ray's: the shuffled control."""

from dataclasses import replace
from typing import Any

import numpy as np
import ray
import torch

from tune_bio.cluster import Allotment
from tune_bio.config import TrialConfig
from tune_bio.metrics import Labels, Probabilities
from tune_bio.sharing import Shared
from tune_bio.training import TrainingState, log_probabilities, train_epoch


def start_shuffled(
    shared: Shared, allotment: Allotment, config: TrialConfig, train: Labels, val: Labels
) -> "ray.ObjectRef[Any]":
    """Train a configuration on these labels, beside whatever else runs.

    `ray.get` of the result gives the validation probabilities after the last epoch, (n, classes).
    """
    task = ray.remote(_train).options(
        num_cpus=allotment.cpus, num_gpus=allotment.gpus, max_retries=0
    )
    reference: ray.ObjectRef[Any] = task.remote(shared, config, train, val, allotment)
    return reference


def _train(
    shared: Shared, config: TrialConfig, train: Labels, val: Labels, allotment: Allotment
) -> Probabilities:
    torch.set_num_threads(max(1, int(allotment.cpus)))
    device = torch.device("cuda" if allotment.gpus and torch.cuda.is_available() else "cpu")
    # To the last epoch: an end that waits for the metric would be chosen by these very labels.
    config = config.model_copy(update={"patience": 0})
    data = shared.trial_data(config)
    data = replace(data, train=replace(data.train, labels=train), val=replace(data.val, labels=val))
    backbone = shared.backbone(config)
    state = TrainingState(config, data, backbone=backbone, device=device)
    while not state.finished:
        train_epoch(state, data)
    probabilities: Probabilities = np.exp(log_probabilities(state, data.val))
    return probabilities
