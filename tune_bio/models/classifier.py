"""The form of every model: a backbone, which can be frozen, and a head."""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import nn

Stages = tuple[tuple[str, ...], ...]


def load_over(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Load tensors by name; missing names keep their values, unknown names raise.

    The tensors update the module's own state dict because it carries a version, which MNASNet
    checks.
    """
    state = module.state_dict()
    state.update(tensors)
    module.load_state_dict(state)


class Classifier(nn.Module):
    """`head(backbone(images))`: (n, channels, S, S) float32 to (n, outputs) logits.

    `stages` holds the names of the backbone's parameters by stage, the stem first; empty for a
    network without stages. Modules in `fixed` stay in evaluation mode even under `train()`, so
    that the running statistics of BatchNorm do not change either.
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
        """Keep exactly these modules in evaluation mode from now on."""
        self.fixed = tuple(modules)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self.fixed:
            module.eval()
        return self
