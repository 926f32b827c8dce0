"""CPU and GPU: precision by compute capability. Only the choices are tested, without a GPU."""

import numpy as np
import pytest
import torch

from tune_bio.training import devices
from tune_bio.training.devices import as_tensor, gather, precision, trains_in_bfloat16

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((7, 0), False), ((7, 5), False), ((8, 0), True), ((8, 9), True), ((9, 0), True)],
)
def test_bfloat16_is_chosen_by_capability(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert trains_in_bfloat16(CUDA) is expected


@pytest.mark.parametrize("training", [True, False])
def test_a_cpu_computes_in_float32(training: bool) -> None:
    with precision(CPU, training=training):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_a_gpu_evaluates_without_tf32_and_keeps_cudnn() -> None:
    enabled = torch.backends.cudnn.enabled
    with precision(CUDA, training=False):
        assert torch.backends.cudnn.enabled
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.enabled == enabled
    assert torch.backends.cudnn.allow_tf32


def test_a_gpu_trains_under_autocast_if_it_supports_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entered = []

    class Autocast:
        def __init__(self, kind: str, dtype: torch.dtype) -> None:
            entered.append((kind, dtype))

        def __enter__(self) -> None: ...
        def __exit__(self, *exception: object) -> None: ...

    monkeypatch.setattr(torch, "autocast", Autocast)
    for capable in (False, True):
        monkeypatch.setattr(devices, "trains_in_bfloat16", lambda device, c=capable: c)
        with precision(CUDA, training=True):
            pass
    assert entered == [("cuda", torch.bfloat16)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_are_gathered_in_the_requested_order(dtype: type) -> None:
    highest = np.iinfo(dtype).max
    pixels = np.linspace(0, highest, 20).astype(dtype).reshape(5, 2, 2, 1)
    pixels.flags.writeable = False
    images = gather(as_tensor(pixels), torch.tensor([3, 0, 3]), CPU)
    assert np.array_equal(images.numpy(), pixels[[3, 0, 3]])
