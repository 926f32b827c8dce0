"""Work on many files in several threads, the results in order.

Pillow and hashlib work outside the interpreter's lock, so threads help.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import joblib
import torch

from tune_bio.datasets.decoding.decode import huge_images_refused

Progress = Callable[[int, int], None]
T = TypeVar("T")
U = TypeVar("U")


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


def map_in_order(
    work: Callable[[T], U],
    items: Sequence[T],
    progress: Progress = no_progress,
    at_once: int = 512,
) -> Iterator[U]:
    """`work` on each item; at most `at_once` results are held."""
    threads = torch.get_num_threads()
    # PyTorch would divide each image's work once more, among as many threads again.
    pool = ThreadPoolExecutor(joblib.cpu_count(), initializer=torch.set_num_threads, initargs=(1,))
    try:
        for start in range(0, len(items), at_once):
            results = []
            # Not around a yield: whoever takes the results has filters of its own.
            with huge_images_refused():
                for result in pool.map(work, items[start : start + at_once]):
                    results.append(result)
                    progress(start + len(results), len(items))
            yield from results
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
