"""Differences between a CPU and a GPU: the transfer of batches, and the precision of training.

A CPU trains in float32: bfloat16 changes results and is slow on most processors
(benchmarks/memory_format.py). A GPU trains under autocast to bfloat16 if its compute capability
supports bfloat16 natively. Evaluation is in float32 everywhere, without TF32, so that the exported
model has its recorded scores on any machine.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from tune_bio.datasets.feature_arrays import Features
from tune_bio.datasets.pixels import Pixels
from tune_bio.datasets.row_view import RowView

BFLOAT16_CAPABILITY = (8, 0)  # Ampere; older GPUs emulate bfloat16


def as_tensor(array: Pixels | Features) -> torch.Tensor:
    """Return a tensor view of the array, which is read-only in Ray's object store."""
    with warnings.catch_warnings():
        # torch warns that writing to such a tensor is undefined; nothing here writes to it.
        warnings.filterwarnings("ignore", message=".*not writable", category=UserWarning)
        return torch.from_numpy(array)


@dataclass(frozen=True)
class ConcatenatedArrays:
    """The concatenation of two tensors, without a copy, in the order of `rows`."""

    first: torch.Tensor
    second: torch.Tensor
    rows: torch.Tensor

    def __getitem__(self, batch: torch.Tensor) -> torch.Tensor:
        positions, boundary = self.rows[batch], len(self.first)
        in_first = positions < boundary
        gathered = self.first.new_empty((len(positions), *self.first.shape[1:]))
        gathered[in_first] = self.first[positions[in_first]]
        gathered[~in_first] = self.second[positions[~in_first] - boundary]
        return gathered


def as_source(
    array: Pixels | Features | RowView[Pixels] | RowView[Features],
) -> torch.Tensor | ConcatenatedArrays:
    """Return the source from which batches are gathered, without a copy."""
    if isinstance(array, RowView):
        rows = torch.from_numpy(array.rows)
        return ConcatenatedArrays(as_tensor(array.first), as_tensor(array.second), rows)
    return as_tensor(array)


def gather(
    source: torch.Tensor | ConcatenatedArrays, batch: torch.Tensor, device: torch.device
) -> torch.Tensor:
    """Return the rows at these positions, on `device`; a copy to a GPU overlaps with its work."""
    rows = source[batch]
    if device.type == "cuda":
        rows = rows.pin_memory()
    return rows.to(device, non_blocking=True)


@contextmanager
def precision(device: torch.device, *, training: bool) -> Iterator[None]:
    """Set the precision of the forward pass inside the block."""
    if device.type == "cuda" and training and trains_in_bfloat16(device):
        with torch.autocast("cuda", dtype=torch.bfloat16):
            yield
    elif device.type == "cuda" and not training:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    else:
        yield


def trains_in_bfloat16(device: torch.device) -> bool:
    """Return True if a GPU computes in bfloat16 rather than emulating it."""
    return torch.cuda.get_device_capability(device) >= BFLOAT16_CAPABILITY
