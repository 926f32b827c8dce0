"""The model zoo: every torchvision network, and one network of each timm family."""

import functools
import math
import os

import pytest
import timm
import torch
from torch import nn

from tests.data_factory import config, is_one_line, outcome, trial_data
from tune_bio.errors import ConfigError, InputError
from tune_bio.models.build import build_model, refuse_unknown_model
from tune_bio.models.cost import cost
from tune_bio.models.meta_device import on_meta_device, output_shape
from tune_bio.models.zoo import registry, timm_models, torchvision_models
from tune_bio.training.fit import train_epoch
from tune_bio.training.state import TrainingState

TORCHVISION = torchvision_models.names()
TIMM_FAMILIES = timm.list_modules()
# Parts of names that promise a small network, the smallest first.
_SMALL = (
    "atto", "femto", "pico", "nano", "xxs", "xx", "tiny", "_xs", "_t", "_s0", "b0", "small",
    "mini", "_s", "010", "025", "035", "050",
)  # fmt: skip
# `make test-all` runs the whole zoo, or one shard of it per machine: "1/4" ... "4/4".
SHARD = os.environ.get("TUNE_BIO_SHARD", "1/1")


@functools.cache
def _smallest(family: str) -> str:
    """Return the smallest of a family's networks, among those with the most promising names."""

    def promise(name: str) -> tuple[int, int]:
        ranks = [rank for rank, mark in enumerate(_SMALL) if mark in name]
        return (min(ranks, default=len(_SMALL)), len(name))

    names = [name for name in timm.list_models(module=family) if not name.startswith("test_")]
    sizes = {}
    for name in sorted(names, key=promise)[:4]:
        with on_meta_device():
            network = timm.create_model(name)
        sizes[name] = sum(parameter.numel() for parameter in network.parameters())
    return "timm:" + min(sizes, key=lambda name: sizes[name])


def _shard(names: list[str]) -> list[str]:
    number, count = map(int, SHARD.split("/"))
    return names[number - 1 :: count]


def test_the_zoo_has_all_classification_networks_of_torchvision() -> None:
    assert len(TORCHVISION) >= 80
    assert all(registry.knows(name) for name in TORCHVISION)
    assert {"resnext50_32x4d", "vit_b_16", "maxvit_t", "googlenet"} <= set(TORCHVISION)


@pytest.mark.parametrize("name", TORCHVISION)
def test_every_torchvision_network_is_cut_and_divided_into_stages(name: str) -> None:
    size = registry.size_that_fits(name, registry.SMALLEST - 1)
    assert size is not None
    with on_meta_device():
        model = registry.replace_head(name, registry.build(name, size), size, 7, 0.25)
    assert output_shape(model, size) == (2, 7)
    outputs = [m for m in model.head.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert len(outputs) == 1
    assert [m.p for m in model.head.modules() if isinstance(m, nn.Dropout)] == [0.25]
    stages = registry.stages(name, model.backbone)
    names = [parameter for stage in stages for parameter in stage]
    everything = [parameter for parameter, _ in model.backbone.named_parameters()]
    if name.startswith("vit_"):
        assert not stages
    else:
        assert sorted(names) == sorted(everything)
        assert len(stages) >= 4
        assert all(stages)


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "swin_t", "vgg11", "googlenet"])
def test_stages_are_in_the_order_of_the_forward_pass(name: str) -> None:
    model = build_model(config(name), 2, 3).eval()
    order: list[str] = []
    for module_name, module in model.backbone.named_modules():
        if any(True for _ in module.parameters(recurse=False)):
            module.register_forward_hook(lambda *_, n=module_name: order.append(n))
    with torch.no_grad():
        model(torch.rand(1, 3, 32, 32))
    stage_of = {n.rpartition(".")[0]: k for k, stage in enumerate(model.stages) for n in stage}
    stages = [stage_of[name] for name in order if name in stage_of]
    assert stages == sorted(stages)
    assert set(stages) == set(range(len(model.stages)))


@pytest.mark.parametrize(
    ("name", "millions", "giga"),
    [  # published with torchvision's weights, for 1,000 classes at 224 px (299 px for Inception)
        ("resnet18", 11.69, 1.81),
        ("resnext50_32x4d", 25.03, 4.23),
        ("densenet121", 7.98, 2.83),
        ("vgg16", 138.36, 15.47),
        ("mobilenet_v2", 3.505, 0.30),
        ("swin_t", 28.29, 4.49),
        ("inception_v3", 23.83, 5.71),
    ],
)
def test_the_counts_match_the_published_ones(name: str, millions: float, giga: float) -> None:
    size = 299 if name == "inception_v3" else 224
    counts = cost(config(name, image_size=size), 1000, 3)
    assert counts.multiply_adds / 1e9 == pytest.approx(giga, rel=0.02)
    if name != "inception_v3":  # published with its auxiliary head, which is not built here
        assert counts.parameters / 1e6 == pytest.approx(millions, rel=0.001)


@pytest.mark.parametrize("name", ["vgg11", "alexnet"])
def test_the_dropout_of_hidden_layers_is_set_as_well(name: str) -> None:
    model = build_model(config(name, image_size=64, dropout=0.125), 2, 1)
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.125}


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        (
            "resnet18",
            31,
            r"image_size=31 does not fit resnet18 .*32 px or more.*: set image_size=32",
        ),
        ("inception_v3", 64, r"image_size=64 does not fit inception_v3.*: set image_size=75"),
        ("alexnet", 32, r"image_size=32 does not fit alexnet.*: set image_size=64"),
        ("vit_b_16", 40, r"image_size=40 does not fit vit_b_16.*: set image_size=48"),
        ("maxvit_t", 256, r"image_size=256 does not fit maxvit_t.*: set image_size=224"),
        ("timm:levit_128", 64, r"image_size=64 does not fit timm:levit_128.*: set image_size=224"),
    ],
)
def test_an_unsuitable_size_is_refused_with_a_suggestion(
    name: str, size: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        refuse_unknown_model(name, size)
    assert is_one_line(caught.value)
    refuse_unknown_model(name, int(str(caught.value).rpartition("=")[2]))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("resnet81", "resnet18"),
        ("resnext50_32x", "resnext50_32x4d"),
        ("timm:tf_efficientnet_lit0", "timm:tf_efficientnet_lite0"),
        ("cnn_gpa", "cnn_gap"),
    ],
)
def test_an_unknown_model_is_refused_with_the_nearest_name(name: str, nearest: str) -> None:
    with pytest.raises(
        ConfigError, match=f"unknown model {name!r}: did you mean {nearest!r}"
    ) as caught:
        refuse_unknown_model(name)
    assert is_one_line(caught.value)


def test_a_timm_network_may_be_named_with_the_tag_of_its_weights() -> None:
    refuse_unknown_model("timm:resnet18.a1_in1k", 64)
    assert timm_models.published("timm:resnet18.a1_in1k").tag == "a1_in1k"


def _check_training(name: str) -> None:
    """Check that a network trains for one step and is evaluated, or is refused in one line."""
    size = registry.size_that_fits(name, registry.SMALLEST - 1)
    assert size is not None, f"{name} takes no size: {registry.refusal(name, 224)}"
    chosen = config(name, image_size=size, batch_size=2, epochs=1, optimizer="sgd", momentum=0.0)
    data = trial_data(chosen, train=2, val=3, classes=3)
    state = outcome(lambda: TrainingState(chosen, data))
    if isinstance(state, InputError):
        return
    before = state.model.state_dict()["head.1.weight"].clone()
    result = train_epoch(state, data)
    assert math.isfinite(result.train_loss)
    assert state.diverged or 0 <= result.val["accuracy"] <= 1
    assert not torch.equal(before, state.model.state_dict()["head.1.weight"])


@pytest.mark.slow
@pytest.mark.parametrize("name", _shard(list(TORCHVISION)))
def test_every_torchvision_network_trains(name: str) -> None:
    _check_training(name)


@pytest.mark.slow
@pytest.mark.parametrize("family", _shard(list(TIMM_FAMILIES)))
def test_one_network_of_each_timm_family_trains(family: str) -> None:
    _check_training(_smallest(family))


@pytest.mark.parametrize("family", ["vision_transformer", "convnext", "resnet", "levit", "nfnet"])
def test_a_few_timm_families_train(family: str) -> None:
    _check_training(_smallest(family))
