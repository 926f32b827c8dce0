"""A model's predictions for a set of images, validated."""

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
    """Labels (n,), probabilities (n, classes) and patients (n,) of images.

    `codes` gives each image's patient as an integer below `patients`; `positive` is the index of
    the positive class.
    """

    labels: Integers
    probabilities: Floats
    codes: Integers
    patients: int
    positive: int

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.probabilities.shape[1])

    @property
    def has_single_patient_class(self) -> bool:
        """True if a class has only one patient, which does not show how such patients vary."""
        return any(len(np.unique(self.codes[self.labels == k])) == 1 for k in range(self.classes))


def checked_sample(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    patients: npt.NDArray[Any],
    positive: int,
) -> Sample:
    """Return the sample; raise StatisticsError if the arrays do not fit together."""
    predicted = checked_probabilities(probabilities, None, None)
    truth = checked_labels(labels, predicted.shape[1])
    if len(truth) != len(predicted):
        raise StatisticsError(
            f"{len(predicted)} rows of probabilities do not belong to {len(truth)} images",
            "give one row per image",
        )
    if not 0 <= positive < predicted.shape[1]:
        raise StatisticsError(
            f"there is no class number {positive}", f"give 0 ... {predicted.shape[1] - 1}"
        )
    codes, count = patient_codes(patients, len(truth))
    return Sample(truth, predicted, codes, count, positive)
