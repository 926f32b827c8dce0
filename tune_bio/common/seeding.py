"""Random numbers: every draw of a trial is derived from its seed and names its purpose.

A draw depends only on (seed, purpose, epoch), not on earlier draws. A trial that continues from a
checkpoint, or runs in a reused process, therefore draws the same numbers as an uninterrupted one.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive(seed: int, purpose: str, epoch: int = 0) -> int:
    """Return a 63-bit seed for one purpose in one epoch, by numpy's SeedSequence."""
    entropy = (seed, zlib.crc32(purpose.encode()), epoch)
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """Return a new CPU generator for one purpose in one epoch."""
    return torch.Generator().manual_seed(derive(seed, purpose, epoch))


@contextmanager
def global_seed(seed: int, purpose: str, epoch: int = 0) -> Iterator[None]:
    """Seed PyTorch's global generators inside the block, and restore their state afterwards.

    For draws that accept no generator: initialisers and dropout.
    """
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, purpose, epoch))
        yield
