"""Freeze strategies: which parameters change in which epoch, and which the optimizer holds."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.data_factory import config, foreign_backbone, is_one_line, same, trial_data
from tune_bio.errors import ConfigError
from tune_bio.models.build import build_model
from tune_bio.models.classifier import Classifier
from tune_bio.models.freezing import frozen_groups, phase
from tune_bio.training.fit import train_epoch
from tune_bio.training.state import TrainingState

SMALL_FAMILIES = (
    "resnet18", "squeezenet1_0", "mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5",
    "timm:tf_efficientnet_lite0", "timm:convnext_atto",
)  # fmt: skip
LARGE_FAMILIES = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet",
    "inception_v3", "maxvit_t", "mobilenet_v2", "regnet_x_400mf", "swin_t", "swin_v2_t", "vgg11_bn",
    "timm:resnet18", "timm:mobilenetv3_small_050", "timm:regnetx_002",
)  # fmt: skip
WITHOUT_STAGES = ("vit_b_32", "timm:vit_tiny_patch16_224")
SIZES = {"alexnet": 64, "inception_v3": 75, "maxvit_t": 224}

FAMILIES = [
    *SMALL_FAMILIES,
    *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE_FAMILIES),
]
# The number of frozen groups (of `n`, from the stem on) in epochs 1 and 2.
FROZEN = {
    "none": lambda n: (0, 0),
    "backbone": lambda n: (n, n),
    "backbone_bn": lambda n: (n, n),
    "stages_1": lambda n: (2, 2),
    "lp_ft": lambda n: (n, 0),
    "gradual": lambda n: (n, n - 1),
}


def _configured(model: str, freeze: str, **params: Any) -> Any:
    schedule = {"unfreeze_every": 1} if freeze == "gradual" else {}
    size = {"image_size": SIZES.get(model, 32)}
    return config(model, weights="imagenet", freeze=freeze, **(size | schedule | params))


def _started(chosen: Any, train: int = 8) -> tuple[TrainingState, Any]:
    data = trial_data(chosen, train=train, val=8)
    return TrainingState(chosen, data, backbone=foreign_backbone(chosen)), data


def _copy(model: Classifier) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _frozen_names(model: Classifier, groups: int) -> set[str]:
    return {f"backbone.{name}" for group in model.stages[:groups] for name in group}


def _module(name: str) -> str:
    return name.rpartition(".")[0]


@pytest.mark.parametrize("freeze", FROZEN)
@pytest.mark.parametrize("model", FAMILIES)
def test_only_unfrozen_parameters_change(model: str, freeze: str) -> None:
    chosen = _configured(model, freeze, lr=0.01, weight_decay=0.1)
    state, data = _started(chosen)
    parameters = {name for name, _ in state.model.named_parameters()}
    ever_changed: set[str] = set()
    for groups in FROZEN[freeze](len(state.model.stages)):
        frozen = _frozen_names(state.model, groups)
        frozen_modules = {_module(name) for name in frozen}
        optimizer, before = state.optimizer, _copy(state.model)
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        named = dict(state.model.named_parameters())
        assert held == {id(p) for name, p in named.items() if name not in frozen}
        train_epoch(state, data)
        after = _copy(state.model)
        changed = {name for name in after if not torch.equal(before[name], after[name])}
        assert not changed & frozen  # neither gradients nor weight decay
        assert {id(p) for p in optimizer.state} <= held
        free = parameters - frozen
        # The bias of a dead unit may not change, nor layers after a weight that starts at zero.
        assert len(changed & free) > 0.75 * len(free)
        for name in after.keys() - parameters:  # BatchNorm's running statistics and counts
            fixed = _module(name) in frozen_modules and freeze != "backbone_bn"
            if fixed or "running" in name:
                assert (name in changed) != fixed, name
        ever_changed |= changed
    assert ever_changed <= state.trained
    assert state.trainable_parameters == sum(
        p.numel() for name, p in state.model.named_parameters() if name in state.trained
    )


@pytest.mark.parametrize("freeze", FROZEN)
def test_the_saved_weights_are_those_that_training_changes(freeze: str) -> None:
    state, data = _started(_configured("resnet18", freeze))
    original = _copy(state.model)
    for _ in range(2):
        train_epoch(state, data)
    saved = state.trained_weights()
    rest = {name: tensor for name, tensor in state.model.state_dict().items() if name not in saved}
    assert same(rest, {name: original[name] for name in rest})
    assert ("backbone.conv1.weight" in saved) == (freeze in ("none", "lp_ft"))
    assert ("backbone.bn1.running_mean" in saved) == (freeze in ("none", "lp_ft", "backbone_bn"))


@pytest.mark.parametrize("model", SMALL_FAMILIES)
def test_a_frozen_backbone_gives_the_same_features_in_training_as_in_evaluation(
    model: str,
) -> None:
    state, data = _started(_configured(model, "backbone"))
    images = state.transform.normalize(torch.from_numpy(data.val.pixels))
    evaluated = state.model.eval().backbone(images)
    trained = state.model.train().backbone(images)
    assert torch.equal(evaluated, trained)
    assert state.model.head.training
    state.model(images).sum().backward()
    assert all(p.grad is None for p in state.model.backbone.parameters())


def test_the_first_stages_give_the_same_maps_in_training_as_in_evaluation() -> None:
    state, data = _started(_configured("resnet18", "stages_2"))
    images = state.transform.normalize(torch.from_numpy(data.val.pixels))
    maps: dict[str, list[torch.Tensor]] = {"layer2": [], "layer3": []}
    for name, outputs in maps.items():
        layer = state.model.backbone.get_submodule(name)
        layer.register_forward_hook(lambda module, args, output, to=outputs: to.append(output))
    for training in (False, True):
        state.model.train(training)(images)
    assert torch.equal(*maps["layer2"])
    assert not torch.equal(*maps["layer3"])


def test_an_unfrozen_backbone_is_back_in_training_mode() -> None:
    state, data = _started(_configured("resnet18", "lp_ft"))
    train_epoch(state, data)
    norms = [m for m in state.model.train().modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert all(norm.training for norm in norms)


def test_fine_tuning_begins_with_a_fresh_optimizer_and_schedule() -> None:
    state, data = _started(
        _configured("resnet18", "lp_ft", epochs=5, lp_epochs=2, lr_schedule="cosine")
    )
    rates = []
    for epoch in range(1, 6):
        assert len(state.optimizer.state) == 0 or epoch not in (1, 3)
        rates.append(train_epoch(state, data).lr / state.config.lr)
    assert rates == pytest.approx([1, 0.5, 1, 0.75, 0.25])


def test_gradually_unfrozen_parameters_join_the_same_optimizer() -> None:
    state, data = _started(
        _configured("resnet18", "gradual", epochs=7, unfreeze_every=1, lr_schedule="cosine")
    )
    first, sizes, rates = state.optimizer, [], []
    for _ in range(7):
        sizes.append(len(state.optimizer.param_groups))
        rates.append(train_epoch(state, data).lr)
        assert state.optimizer is first
        assert len({group["lr"] for group in first.param_groups[: sizes[-1]]}) == 1
    assert sizes == [1, 2, 3, 4, 5, 6, 6]  # head, four stages, stem
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("lp_epochs", [1, 3, 8])
def test_phases_follow_each_other_without_gaps(lp_epochs: int) -> None:
    chosen = config("resnet18", weights="imagenet", freeze="lp_ft", lp_epochs=lp_epochs, epochs=8)
    for epoch in range(1, 9):
        first, length = phase(chosen, epoch)
        assert first <= epoch < first + length
        assert first + length - 1 in (lp_epochs, 8)
        assert frozen_groups(chosen, epoch, 5) == (5 if epoch <= lp_epochs else 0)


@pytest.mark.parametrize("freeze", ["stages_1", "gradual"])
@pytest.mark.parametrize("model", WITHOUT_STAGES)
def test_a_family_without_stages_is_refused_in_one_line(model: str, freeze: str) -> None:
    with pytest.raises(ConfigError, match=f"{freeze}.*{model} has none: use") as caught:
        build_model(_configured(model, freeze), 2, 1)
    assert is_one_line(caught.value)


def test_too_many_frozen_stages_are_refused_with_the_number_of_stages() -> None:
    assert build_model(_configured("resnet18", "stages_3"), 2, 1)
    with pytest.raises(ConfigError, match=r"resnet18 has 4 stages: use at most stages_3"):
        build_model(_configured("resnet18", "stages_4"), 2, 1)
