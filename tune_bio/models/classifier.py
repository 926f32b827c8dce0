"""Every model is a backbone and a head: the place where a frozen part ends."""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import nn

Stages = tuple[tuple[str, ...], ...]


def load_over(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Load tensors by name; what is not given stays as it is, what is not known raises.

    They go over the module's own state, because that knows its version, and MNASNet asks for it.
    """
    state = module.state_dict()
    state.update(tensors)
    module.load_state_dict(state)


class Classifier(nn.Module):
    """`head(backbone(images))`: (n, channels, S, S) float32 to (n, outputs) logits.

    `stages` are the names of the backbone's parameters, the stem's first; empty for a network
    that has no stages. Modules that are `fixed` stay in evaluation mode, whatever `train()` is
    told: BatchNorm's running statistics must not move either.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, stages: Stages = ()) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.stages = stages
        self.fixed: Sequence[nn.Module] = ()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.backbone(images))
        return logits

    def fix(self, modules: Sequence[nn.Module]) -> None:
        """Keep these modules, and no others, in evaluation mode from now on."""
        self.fixed = tuple(modules)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self.fixed:
            module.eval()
        return self
