"""Costs: against counts by hand, and against the memory that a training step really uses."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from tests.data_factory import config, foreign_backbone, trial_data
from tune_bio.models.build import build_model
from tune_bio.models.cost import cost
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.state import TrainingState

ANN = TrialConfig.of({"model": "ann", "width": "32-16", "image_size": 10})
GAP = TrialConfig.of({"model": "cnn_gap", "width": "4-8", "image_size": 16})
CNN = TrialConfig.of({"model": "cnn", "width": "4-8", "head_width": 5, "image_size": 16})


def test_multiply_adds_match_a_count_by_hand() -> None:
    assert cost(ANN, 3, 1).multiply_adds == 100 * 32 + 32 * 16 + 16 * 3
    convolutions = 16**2 * 9 * 3 * 4 + 8**2 * 9 * 4 * 8
    assert cost(GAP, 2, 3).multiply_adds == convolutions + 8 * 2
    assert cost(CNN, 2, 3).multiply_adds == convolutions + 8 * 16 * 5 + 5 * 2


def test_parameters_match_a_count_by_hand() -> None:
    normalised = 2 * (32 + 16)  # BatchNorm's weights and biases
    assert cost(ANN, 3, 1).parameters == 101 * 32 + 33 * 16 + 17 * 3 + normalised
    assert cost(CNN, 2, 3).parameters == 28 * 4 + 37 * 8 + (8 * 16 + 1) * 5 + 6 * 2


@pytest.mark.parametrize("freeze", ["none", "backbone", "backbone_bn", "stages_2", "gradual"])
@pytest.mark.parametrize("model", ["resnet18", "squeezenet1_0", "timm:convnext_atto"])
def test_the_counts_match_the_model_that_is_trained(model: str, freeze: str) -> None:
    chosen = config(model, weights="imagenet", freeze=freeze, epochs=20)
    state = TrainingState(chosen, trial_data(chosen, classes=3), backbone=foreign_backbone(chosen))
    counts = cost(chosen, 3, 1)
    assert counts.parameters == sum(p.numel() for p in state.model.parameters())
    assert counts.trainable_parameters == state.trainable_parameters


@pytest.mark.parametrize("model", ["cnn", "ann", "resnet18", "timm:convnext_atto", "densenet121"])
def test_the_memory_for_the_backward_pass_matches_what_autograd_saves(model: str) -> None:
    chosen = config(model)
    network = build_model(chosen, 2, 1).train()
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    saved: dict[int, int] = {}
    alive = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    channels = 1 if model in ("cnn", "ann") else 3
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        network(torch.rand(8, channels, chosen.image_size, chosen.image_size))
    assert cost(chosen, 2, 1).saved_bytes * 8 == pytest.approx(sum(saved.values()), rel=0.05)


def test_a_model_too_large_for_any_memory_is_still_counted() -> None:
    huge = TrialConfig.of({"model": "ann", "width": 1_000_000, "image_size": 256})
    assert cost(huge, 2, 1).parameters > 10**12


def test_a_frozen_backbone_saves_nothing_for_the_backward_pass() -> None:
    frozen = config("resnet18", weights="imagenet", freeze="backbone")
    free = config("resnet18", weights="imagenet")
    assert cost(frozen, 2, 1).saved_bytes < cost(free, 2, 1).saved_bytes / 50
