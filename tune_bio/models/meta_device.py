"""Networks on the meta device: built in no time and no memory, to learn their shapes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

META = torch.device("meta")


class _EmptyOnMeta(TorchFunctionMode):
    """Mode that creates tensors for weights on the meta device, and others where they belong.

    `torch.device("meta")` would create all tensors there, but some networks compute their widths
    with tensors (torchvision's RegNet), which need values.
    """

    _HOLD_WEIGHTS = frozenset(
        (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)
    )

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function in self._HOLD_WEIGHTS and kwargs.get("device") is None:
            kwargs["device"] = META
        return function(*args, **kwargs)


@contextmanager
def on_meta_device() -> Iterator[None]:
    """Build networks inside the block with shapes but without values."""
    with _EmptyOnMeta():
        yield


def output_shape(network: nn.Module, size: int) -> tuple[int, ...]:
    """Return the shape of the output for two RGB images of `size` px.

    Raises whatever the network raises.
    """
    network = network.to(META).eval()
    with META, torch.no_grad():
        shape = network(torch.empty(2, 3, size, size)).shape
    return tuple(shape)
