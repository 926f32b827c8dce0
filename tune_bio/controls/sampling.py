"""Samples of the training images, for controls that need only some of them."""

import numpy as np

from tune_bio.common.seeding import derive
from tune_bio.datasets.pixels import Rows
from tune_bio.training.metrics import Labels


def sample_rows(labels: Labels, limit: int, seed: int, purpose: str) -> Rows:
    """Return sorted positions of a stratified sample of about `limit` images, or all if fewer."""
    if len(labels) <= limit:
        return np.arange(len(labels))
    classes, counts = np.unique(labels, return_counts=True)
    sizes = np.ceil(limit * counts / len(labels)).astype(int)
    return _sample_per_class(labels, dict(zip(classes, sizes, strict=True)), seed, purpose)


def sample_balanced(labels: Labels, limit: int, seed: int, purpose: str) -> Rows:
    """Return sorted positions of at most `limit` images, equally many per class, at least one each.

    The other classes do not make up for a class with fewer images.
    """
    classes = np.unique(labels)
    size = max(1, limit // len(classes))
    return _sample_per_class(labels, dict.fromkeys(classes, size), seed, purpose)


def _sample_per_class(labels: Labels, sizes: dict[int, int], seed: int, purpose: str) -> Rows:
    order = np.random.default_rng(derive(seed, purpose)).permutation(len(labels))
    samples = [order[labels[order] == label][:size] for label, size in sizes.items()]
    return np.sort(np.concatenate(samples))
