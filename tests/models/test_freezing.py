"""Freeze strategies: what moves in which epoch, and what an optimizer holds."""

import pytest
import torch
from torch import nn

from tests.fixtures_data import PRETRAINED, config, foreign_backbone, same, trial_data
from tune_bio.models import Classifier
from tune_bio.models.freezing import backbone_is_frozen, phase
from tune_bio.training import TrainingState, train_epoch

# Whether the backbone trains in epochs 1 and 2, of two; one of them is lp_ft's linear probe.
TRAINS = {"none": (True, True), "backbone": (False, False), "lp_ft": (False, True)}


def _parts(model: Classifier) -> tuple[dict[str, torch.Tensor], ...]:
    """Copies of the backbone's parameters, its buffers, and the head's parameters."""
    named = (
        model.backbone.named_parameters(),
        model.backbone.named_buffers(),
        model.head.named_parameters(),
    )
    return tuple({name: tensor.detach().clone() for name, tensor in part} for part in named)


@pytest.mark.parametrize("freeze", TRAINS)
@pytest.mark.parametrize("model", PRETRAINED)
def test_only_what_the_strategy_frees_changes(model: str, freeze: str) -> None:
    chosen = config(model, weights="imagenet", freeze=freeze, lr=0.01, weight_decay=0.1)
    data = trial_data(chosen, train=8, val=8)
    pretrained = foreign_backbone(chosen)
    state = TrainingState(chosen, data, backbone=pretrained)
    assert same(state.model.backbone.state_dict(), pretrained)
    for trains in TRAINS[freeze]:
        parameters, buffers, head = _parts(state.model)
        in_epoch = state.optimizer
        train_epoch(state, data)
        new_parameters, new_buffers, new_head = _parts(state.model)
        assert same(parameters, new_parameters) != trains
        # Running statistics and batch counts stand still with the weights that they belong to.
        assert same(buffers, new_buffers) == (not trains or not buffers)
        assert not same(head, new_head)
        stepped = len(list(state.model.head.parameters()))
        stepped += len(parameters) if trains else 0
        assert len(in_epoch.state) == stepped
        assert sum(len(group["params"]) for group in in_epoch.param_groups) == stepped


@pytest.mark.parametrize("model", PRETRAINED)
def test_a_frozen_backbone_gives_the_same_features_in_training_as_in_evaluation(
    model: str,
) -> None:
    chosen = config(model, weights="imagenet", freeze="backbone")
    data = trial_data(chosen, train=8, val=4)
    state = TrainingState(chosen, data, backbone=foreign_backbone(chosen))
    images = state.transform.normalize(torch.from_numpy(data.val.pixels))
    evaluated = state.model.eval().backbone(images)
    trained = state.model.train().backbone(images)
    assert torch.equal(evaluated, trained)
    assert state.model.head.training
    state.model(images).sum().backward()
    assert all(p.grad is None for p in state.model.backbone.parameters())


def test_a_freed_backbone_is_back_in_training_mode() -> None:
    chosen = config("resnet18", weights="imagenet", freeze="lp_ft")
    data = trial_data(chosen, train=8, val=4)
    state = TrainingState(chosen, data, backbone=foreign_backbone(chosen))
    train_epoch(state, data)
    norms = [m for m in state.model.train().modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert all(norm.training for norm in norms)


def test_fine_tuning_begins_with_a_fresh_optimizer_and_schedule() -> None:
    chosen = config(
        "resnet18", weights="imagenet", freeze="lp_ft", epochs=5, lp_epochs=2, lr_schedule="cosine"
    )
    data = trial_data(chosen, train=8, val=4)
    state = TrainingState(chosen, data, backbone=foreign_backbone(chosen))
    rates = []
    for epoch in range(1, 6):
        assert len(state.optimizer.state) == 0 or epoch not in (1, 3)
        rates.append(train_epoch(state, data).lr / chosen.lr)
    assert rates == pytest.approx([1, 0.5, 1, 0.75, 0.25])


@pytest.mark.parametrize("lp_epochs", [1, 3, 8])
def test_phases_follow_one_another_without_a_gap(lp_epochs: int) -> None:
    chosen = config("resnet18", weights="imagenet", freeze="lp_ft", lp_epochs=lp_epochs, epochs=8)
    for epoch in range(1, 9):
        first, length = phase(chosen, epoch)
        assert first <= epoch < first + length
        assert first + length - 1 in (lp_epochs, 8)
        assert backbone_is_frozen(chosen, epoch) == (epoch <= lp_epochs)
