"""Dropout for heads: `torch.nn.Dropout`, with masks drawn eight times as fast on a CPU.

PyTorch draws the mask of each value from a serial generator, at the cost of two 32-bit draws: two
thirds of an epoch of a linear probe (benchmarks/dropout.py). Here each 64-bit draw decides about
four values.
"""

import torch
from torch import nn

LEVELS = 2**16  # steps of a probability: 16 random bits decide about each value
LANES = 64 // 16


class Dropout(nn.Dropout):
    """Zero each value with probability `p` in training, and scale the others to keep the mean.

    On a CPU, `p` is rounded to a multiple of 2**-16 (for the scale too, so that the mean is exact),
    and the random numbers come from PyTorch's global generator, in the memory order of the values.
    In evaluation, and on every other device, this is `torch.nn.Dropout`.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Apply dropout to float features of any shape and memory format; the shape stays."""
        dropped = round(self.p * LEVELS)
        if not self.training or not 0 < dropped < LEVELS or features.device.type != "cpu":
            return super().forward(features)
        mask = torch.empty_like(features, requires_grad=False)
        flat = mask.as_strided((mask.numel(),), (1,))  # in memory order, for any memory format
        torch.ge(_lanes(len(flat)), dropped - LEVELS // 2, out=flat)
        flat.mul_(LEVELS / (LEVELS - dropped))
        return features * mask


def _lanes(count: int) -> torch.Tensor:
    """Draw uniform int16 values, (count,)."""
    draws = torch.empty(-(-count // LANES), dtype=torch.int64)
    return draws.random_(-(2**63), None).view(torch.int16)[:count]
