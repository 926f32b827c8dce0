"""Random labels, probabilities and patients for the tests of the statistics."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st


@dataclass(frozen=True)
class Case:
    """Labels in which every class occurs, probabilities with ties, and patients."""

    labels: Any
    probabilities: Any
    patients: Any

    @property
    def classes(self) -> int:
        return int(self.probabilities.shape[1])


@st.composite
def cases(draw: st.DrawFn, classes: tuple[int, int] = (2, 4), images: int = 40) -> Case:
    """Draw small studies."""
    count = draw(st.integers(*classes))
    n = draw(st.integers(2 * count, images))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = rng.permutation(np.arange(n) % count)
    weights = rng.integers(1, draw(st.sampled_from([3, 10, 10_000])), (n, count))
    patients = np.arange(n) % draw(st.integers(2, n))
    return Case(labels, weights / weights.sum(axis=1, keepdims=True), rng.permutation(patients))


def study(seed: int, patients: int = 60, distance: float = 1.5, classes: int = 2) -> Case:
    """Return a study with 1 to 4 correlated images per patient; every class occurs."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    labels = (np.arange(patients) % classes)[codes]
    noise = rng.standard_normal((patients, classes))[codes] * np.sqrt(0.6)
    noise += rng.standard_normal((len(codes), classes)) * np.sqrt(0.4)
    logits = distance * np.eye(classes)[labels] + noise
    odds = np.exp(logits)
    return Case(labels, odds / odds.sum(axis=1, keepdims=True), codes)
