"""Dropout for heads: its probability, its mean, its gradient, its random draws."""

import pytest
import torch
from torch import nn

from tune_bio.models.dropout import Dropout

LAYOUTS = {
    "flat": torch.rand(40, 500) + 0.5,
    "contiguous": torch.rand(8, 64, 6, 6) + 0.5,
    "channels_last": (torch.rand(8, 64, 6, 6) + 0.5).to(memory_format=torch.channels_last),
    "with gaps": torch.rand(40, 1000)[:, ::2] + 0.5,
    "odd": torch.rand(7, 11, 13) + 0.5,
    "half": torch.rand(40, 500).to(torch.bfloat16) + 0.5,
}  # fmt: skip


def _trained(p: float, images: torch.Tensor, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    result: torch.Tensor = Dropout(p).train()(images)
    return result


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_value_is_zero_or_scaled(layout: str) -> None:
    images = LAYOUTS[layout]
    dropped = _trained(0.25, images)
    assert dropped.shape == images.shape
    assert dropped.dtype == images.dtype
    nonzero = dropped != 0
    scale = torch.tensor(65536 / (65536 - 16384), dtype=images.dtype)
    assert torch.equal(dropped[nonzero], (images * scale)[nonzero])
    assert 0 < nonzero.float().mean() < 1


@pytest.mark.parametrize("p", [0.01, 0.2, 0.5, 0.9])
def test_the_share_of_zeros_is_the_probability_in_every_lane(p: float) -> None:
    count = 2**20
    dropped = _trained(p, torch.ones(count)) == 0
    for lanes in (dropped, *(dropped[lane::4] for lane in range(4))):
        error = (p * (1 - p) / len(lanes)) ** 0.5
        assert abs(float(lanes.double().mean()) - p) < 4.5 * error
    # Neighbours, of one draw and of two, are independent.
    for distance in (1, 2, 3, 4, 8):
        both = float((dropped[:-distance] & dropped[distance:]).double().mean())
        assert abs(both - p * p) < 4.5 * (p * p * (1 - p * p) / count) ** 0.5 + 1e-5


def test_the_mean_is_kept() -> None:
    assert float(_trained(0.3, torch.ones(2**20)).double().mean()) == pytest.approx(1, abs=0.003)


def test_the_gradient_passes_through_the_nonzero_values() -> None:
    images = torch.ones(1000, requires_grad=True)
    dropped = _trained(0.4, images)
    dropped.sum().backward()
    assert torch.equal(images.grad, dropped.detach())


def test_draws_come_from_the_global_generator_in_memory_order() -> None:
    images = LAYOUTS["contiguous"]
    assert torch.equal(_trained(0.5, images), _trained(0.5, images))
    assert not torch.equal(_trained(0.5, images), _trained(0.5, images, seed=1))
    in_memory_order = LAYOUTS["channels_last"].permute(0, 2, 3, 1)
    assert torch.equal(
        _trained(0.5, LAYOUTS["channels_last"]).permute(0, 2, 3, 1), _trained(0.5, in_memory_order)
    )


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_evaluation_and_the_extreme_probabilities_match_pytorch(p: float) -> None:
    images = torch.rand(10, 10)
    assert torch.equal(Dropout(p).eval()(images), images)
    if p in (0.0, 1.0):
        assert torch.equal(_trained(p, images), nn.Dropout(p).train()(images))


def test_other_devices_use_the_dropout_of_pytorch() -> None:
    assert Dropout(0.5).train()(torch.empty(3, 3, device="meta")).device.type == "meta"
