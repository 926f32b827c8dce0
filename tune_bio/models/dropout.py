"""Dropout for heads: `torch.nn.Dropout`, drawn eight times as fast on a CPU.

PyTorch draws each number's mask from the serial generator, at the price of two 32-bit draws: of an
epoch of a linear probe that is two thirds (benchmarks/dropout.py). Here each 64-bit draw decides
about four numbers.
"""

import torch
from torch import nn

LEVELS = 2**16  # of a probability: a mask is decided by 16 random bits
LANES = 64 // 16


class Dropout(nn.Dropout):
    """In training, zero each number with probability `p` and scale the others to the same mean.

    On a CPU, `p` is rounded to a multiple of 2**-16 (for the scale too, so that the mean is exact),
    and the draws are those of PyTorch's global generator, in the order in which the numbers lie in
    memory. In evaluation, and on every other device, it is `torch.nn.Dropout`.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features of any shape and memory format, float; the same shape."""
        dropped = round(self.p * LEVELS)
        if not self.training or not 0 < dropped < LEVELS or images.device.type != "cpu":
            return super().forward(images)
        mask = torch.empty_like(images, requires_grad=False)
        flat = mask.as_strided((mask.numel(),), (1,))  # as it lies, whatever the memory format
        torch.ge(_lanes(len(flat)), dropped - LEVELS // 2, out=flat)
        flat.mul_(LEVELS / (LEVELS - dropped))
        return images * mask


def _lanes(count: int) -> torch.Tensor:
    """Uniform int16, (count,)."""
    draws = torch.empty(-(-count // LANES), dtype=torch.int64)
    return draws.random_(-(2**63), None).view(torch.int16)[:count]
