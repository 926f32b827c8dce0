"""Faster imports of large packages."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Exclude the objects imported inside the block from garbage collection, also at exit.

    PyTorch's and Ray's modules are a million objects that live as long as the process. Scanning
    them again and again takes a quarter of their import time, and seconds at exit.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
