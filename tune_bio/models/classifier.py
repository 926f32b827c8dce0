"""Every model is a backbone and a head: the place where a frozen part ends."""

from typing import Self

import torch
from torch import nn


class Classifier(nn.Module):
    """`head(backbone(images))`: (n, channels, S, S) float32 to (n, outputs) logits.

    While `frozen`, the backbone stays in evaluation mode and builds no gradients, whatever
    `train()` is told: BatchNorm's running statistics must not move either.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.frozen = False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self.backbone(images)
        logits: torch.Tensor = self.head(features)
        return logits

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self
