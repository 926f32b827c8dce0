"""What a model said of a set of images, checked."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_bio.analysis.statistics.arrays import (
    Floats,
    Integers,
    checked_labels,
    checked_probabilities,
    patient_codes,
)
from tune_bio.errors import StatisticsError


@dataclass(frozen=True)
class Sample:
    """Labels (n,), probabilities (n, classes), each image's patient (n,) as a number below
    `patients`, and the index of the positive class.
    """

    labels: Integers
    probabilities: Floats
    codes: Integers
    patients: int
    positive: int

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.probabilities.shape[1])

    @property
    def lone(self) -> bool:
        """Whether a class has one patient alone, of whose kind nobody knows how much it varies."""
        return any(len(np.unique(self.codes[self.labels == k])) == 1 for k in range(self.classes))


def checked_sample(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    patients: npt.NDArray[Any],
    positive: int,
) -> Sample:
    """The sample, if the arrays fit together; raises StatisticsError."""
    shares = checked_probabilities(probabilities, None, None)
    truth = checked_labels(labels, shares.shape[1])
    if len(truth) != len(shares):
        raise StatisticsError(
            f"{len(shares)} rows of probabilities do not belong to {len(truth)} images",
            "give one row an image",
        )
    if not 0 <= positive < shares.shape[1]:
        raise StatisticsError(
            f"there is no class number {positive}", f"give 0 ... {shares.shape[1] - 1}"
        )
    codes, count = patient_codes(patients, len(truth))
    return Sample(truth, shares, codes, count, positive)
