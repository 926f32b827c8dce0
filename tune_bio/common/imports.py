"""Faster imports of large packages."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Keep the garbage collector from what is imported inside the block, now and at the end.

    PyTorch's and Ray's modules are a million objects that live as long as the process. Looking
    through them again and again takes a quarter of the time of their import, and seconds at exit.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
