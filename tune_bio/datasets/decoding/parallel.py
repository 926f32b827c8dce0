"""Process many files in several threads and yield the results in order.

Pillow and hashlib release the global interpreter lock, so threads speed them up.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import joblib
import torch

from tune_bio.datasets.decoding.decode import refuse_huge_images

Progress = Callable[[int, int], None]
T = TypeVar("T")
U = TypeVar("U")


def no_progress(done: int, total: int) -> None:
    """Do nothing: the default progress callback."""


def map_in_order(
    work: Callable[[T], U],
    items: Sequence[T],
    progress: Progress = no_progress,
    at_once: int = 512,
) -> Iterator[U]:
    """Yield `work(item)` for each item in order; hold at most `at_once` results in memory."""
    threads = torch.get_num_threads()
    # Otherwise each worker would start PyTorch threads for every core.
    pool = ThreadPoolExecutor(joblib.cpu_count(), initializer=torch.set_num_threads, initargs=(1,))
    try:
        for start in range(0, len(items), at_once):
            results = []
            # Not around the yield: it would change the warning filters of the caller.
            with refuse_huge_images():
                for result in pool.map(work, items[start : start + at_once]):
                    results.append(result)
                    progress(start + len(results), len(items))
            yield from results
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
