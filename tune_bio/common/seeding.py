"""Random numbers: every draw of a trial comes from its seed and says what it is for.

A draw depends on (seed, purpose, epoch) alone, not on what was drawn before. So a trial that is
continued from a checkpoint, or runs in a used process, draws what it would have drawn anyway.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive(seed: int, purpose: str, epoch: int = 0) -> int:
    """A 63-bit seed for one purpose in one epoch, by numpy's SeedSequence."""
    entropy = (seed, zlib.crc32(purpose.encode()), epoch)
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """A fresh CPU generator for one purpose in one epoch."""
    return torch.Generator().manual_seed(derive(seed, purpose, epoch))


@contextmanager
def global_seed(seed: int, purpose: str, epoch: int = 0) -> Iterator[None]:
    """Seed PyTorch's global generators inside the block, and give them back as they were.

    For the draws that take no generator: initialisers and dropout.
    """
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, purpose, epoch))
        yield
