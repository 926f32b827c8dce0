"""Feature cuts: a network run in two parts gives the same logits, or is refused."""

import pytest
import torch
from torch import nn

from tests.data_factory import config, lively_backbone
from tests.models.test_freezing import LARGE_FAMILIES, SIZES, SMALL_FAMILIES, WITHOUT_STAGES
from tune_bio.datasets.feature_arrays import FeatureCut
from tune_bio.errors import ConfigError
from tune_bio.models.build import build_model
from tune_bio.models.classifier import Classifier
from tune_bio.models.feature_cut import NoCutError, after_cut, before_cut, find_cut, verify
from tune_bio.reuse.frozen_features import frozen_model
from tune_bio.space.trial_config import TrialConfig

STRATEGIES = ("backbone", *(f"stages_{k}" for k in range(1, 8)))


def _configured(model: str, freeze: str = "backbone") -> TrialConfig:
    size = SIZES.get(model, 32)
    return config(model, weights="imagenet", freeze=freeze, image_size=size, dropout=0.5)


def _frozen(model: str, freeze: str = "backbone") -> Classifier:
    chosen = _configured(model, freeze)
    return frozen_model(chosen, lively_backbone(chosen), 3)


def _images(size: int = 32, n: int = 4) -> torch.Tensor:
    images = torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))
    return images.contiguous(memory_format=torch.channels_last)


def _has_stages(model: str, freeze: str) -> bool:
    try:
        build_model(_configured(model, freeze), 2, 3)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize(
    "model",
    [
        *SMALL_FAMILIES,
        *(pytest.param(m, marks=pytest.mark.slow) for m in (*LARGE_FAMILIES, *WITHOUT_STAGES)),
    ],
)
def test_every_family_is_cut_after_every_stage_and_gives_the_same_logits(model: str) -> None:
    torch.manual_seed(0)
    cuts = []
    for strategy in filter(lambda freeze: _has_stages(model, freeze), STRATEGIES):
        network, images = _frozen(model, strategy), _images(SIZES.get(model, 32))
        cut = find_cut(network, images)
        verify(network, cut, images)
        features = before_cut(network, cut, images).clone()
        assert features.shape == (4, *cut.row)
        assert FeatureCut.from_json(cut.to_json()) == cut
        logits = after_cut(network.eval(), cut, features)
        assert torch.allclose(logits, network(images), rtol=1e-5, atol=1e-6)
        logits.sum().backward()
        for name, parameter in network.named_parameters():
            assert (parameter.grad is None) == (not parameter.requires_grad), name
        cuts.append(cut.modules)
    assert len(set(cuts)) == len(cuts)


def test_gradients_after_the_cut_equal_those_of_the_whole_network() -> None:
    network, images = _frozen("resnet18", "stages_2"), _images()
    cut = find_cut(network, images)
    features = before_cut(network, cut, images).clone()
    gradients = []
    for run in (lambda: network.eval()(images), lambda: after_cut(network.eval(), cut, features)):
        network.zero_grad()
        run().square().sum().backward()
        gradients.append(
            {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
        )
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


def test_cutting_leaves_the_network_unchanged() -> None:
    network, images = _frozen("squeezenet1_0", "stages_1"), _images()
    before = network.eval()(images)
    cut = find_cut(network, images)
    after_cut(network, cut, before_cut(network, cut, images).clone())
    assert all("forward" not in vars(module) for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())
    assert torch.equal(network(images), before)


class _Backbone(nn.Module):
    """Two convolutions; `between` selects an operation that may prevent a cut between them."""

    def __init__(self, between: str) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.between = between

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        early = self.first(images)
        if self.between == "twice":
            early = self.first(images) + early
        late = self.second(torch.relu_(early))
        match self.between:
            case "image":
                late = late + images.mean(1, keepdim=True)
            case "in place":
                late += images.mean(1, keepdim=True)
            case "product":
                late = late.flatten(2) @ images.mean(1, keepdim=True).flatten(2).mT
            case "scale":
                late = late * float(images.mean())
            case "mean":
                late = late + 0 * images.shape[0]
        return late.flatten(1)


def _small_network(between: str, frozen: tuple[str, ...] = ("first",)) -> Classifier:
    features = 4 if between == "product" else 4 * 32 * 32
    model = Classifier(_Backbone(between), nn.Linear(features, 2))
    for name in frozen:
        model.backbone.get_submodule(name).requires_grad_(False)
    model.fix([model.backbone.get_submodule(name) for name in frozen])
    return model


@pytest.mark.parametrize("between", ["image", "in place", "product", "scale"])
def test_a_network_that_uses_the_image_after_the_cut_is_refused(between: str) -> None:
    model, images = _small_network(between), _images()
    with pytest.raises(NoCutError):
        verify(model, find_cut(model, images), images)


@pytest.mark.parametrize("between", ["nothing", "mean"])
def test_a_network_that_uses_only_the_features_is_cut(between: str) -> None:
    model, images = _small_network(between), _images()
    cut = find_cut(model, images)
    assert cut.modules == ("backbone.first",)
    verify(model, cut, images)


def test_a_layer_that_runs_twice_is_refused() -> None:
    with pytest.raises(NoCutError, match="more than once"):
        find_cut(_small_network("twice"), _images())


def test_a_network_without_frozen_layers_is_refused() -> None:
    with pytest.raises(NoCutError, match="nothing is frozen"):
        find_cut(_small_network("nothing", ()), _images())


def test_a_trained_layer_before_a_frozen_one_is_refused() -> None:
    with pytest.raises(NoCutError, match=r"trains before the frozen layer backbone\.second"):
        find_cut(_small_network("nothing", ("second",)), _images())


def test_equal_images_prove_nothing() -> None:
    model = _small_network("nothing")
    images = _images()[:1].expand(4, -1, -1, -1)
    with pytest.raises(NoCutError, match="proves nothing"):
        verify(model, find_cut(model, images), images)
