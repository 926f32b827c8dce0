"""What differs between a CPU and a GPU: how a batch gets there, and in which precision it trains.

A CPU trains in float32: bfloat16 changes results and is slow on most processors
(benchmarks/memory_format.py). A GPU trains under autocast to bfloat16 where its capability says
that it computes in it. Evaluation is in float32 everywhere, without TF32, so that a recorded
score is the one that the exported model has on any machine.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from tune_bio.datasets.feature_arrays import Features
from tune_bio.datasets.pixels import Pixels
from tune_bio.datasets.row_view import RowView

BFLOAT16_CAPABILITY = (8, 0)  # Ampere; before it bfloat16 is emulated


def as_tensor(array: Pixels | Features) -> torch.Tensor:
    """A view of the array, which is read-only where it lies in Ray's object store."""
    with warnings.catch_warnings():
        # torch warns that writing to such a tensor is undefined; nothing here writes to it.
        warnings.filterwarnings("ignore", message=".*not writable", category=UserWarning)
        return torch.from_numpy(array)


@dataclass(frozen=True)
class ConcatenatedArrays:
    """Rows of two tensors, one followed by the other, in the order of `rows`."""

    first: torch.Tensor
    second: torch.Tensor
    rows: torch.Tensor

    def __getitem__(self, batch: torch.Tensor) -> torch.Tensor:
        at, before = self.rows[batch], len(self.first)
        early = at < before
        found = self.first.new_empty((len(at), *self.first.shape[1:]))
        found[early] = self.first[at[early]]
        found[~early] = self.second[at[~early] - before]
        return found


def as_source(
    array: Pixels | Features | RowView[Pixels] | RowView[Features],
) -> torch.Tensor | ConcatenatedArrays:
    """What batches are gathered from, read in place."""
    if isinstance(array, RowView):
        rows = torch.from_numpy(array.rows)
        return ConcatenatedArrays(as_tensor(array.first), as_tensor(array.second), rows)
    return as_tensor(array)


def gather(
    source: torch.Tensor | ConcatenatedArrays, batch: torch.Tensor, device: torch.device
) -> torch.Tensor:
    """The rows at these positions, on `device`; the copy to a GPU overlaps with its work."""
    rows = source[batch]
    if device.type == "cuda":
        rows = rows.pin_memory()
    return rows.to(device, non_blocking=True)


@contextmanager
def precision(device: torch.device, *, training: bool) -> Iterator[None]:
    """The precision of the forward pass inside the block."""
    if device.type == "cuda" and training and trains_in_bfloat16(device):
        with torch.autocast("cuda", dtype=torch.bfloat16):
            yield
    elif device.type == "cuda" and not training:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    else:
        yield


def trains_in_bfloat16(device: torch.device) -> bool:
    """Whether a GPU computes in bfloat16 rather than emulating it."""
    return torch.cuda.get_device_capability(device) >= BFLOAT16_CAPABILITY
