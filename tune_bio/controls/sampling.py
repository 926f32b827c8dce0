"""Which images a control is fitted on, where there are more than it needs."""

import numpy as np

from tune_bio.common.seeding import derive
from tune_bio.datasets.pixels import Rows
from tune_bio.training.metrics import Labels


def sample_rows(labels: Labels, limit: int, seed: int, purpose: str) -> Rows:
    """Sorted positions of about `limit` images, each class keeping its share; of all if few."""
    if len(labels) <= limit:
        return np.arange(len(labels))
    found, counts = np.unique(labels, return_counts=True)
    shares = np.ceil(limit * counts / len(labels)).astype(int)
    return _first_of_each(labels, dict(zip(found, shares, strict=True)), seed, purpose)


def sample_balanced(labels: Labels, limit: int, seed: int, purpose: str) -> Rows:
    """Sorted positions of at most `limit` images (and one of each class), the classes alike.

    A class with fewer images leaves its room to none.
    """
    found = np.unique(labels)
    room = max(1, limit // len(found))
    return _first_of_each(labels, dict.fromkeys(found, room), seed, purpose)


def _first_of_each(labels: Labels, room: dict[int, int], seed: int, purpose: str) -> Rows:
    order = np.random.default_rng(derive(seed, purpose)).permutation(len(labels))
    drawn = [order[labels[order] == label][:count] for label, count in room.items()]
    return np.sort(np.concatenate(drawn))
