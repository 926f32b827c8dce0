"""The report that a step of a trial returns to Ray Tune, for recorder, searcher and scheduler."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_bio.records.schema import Row

EPOCH = "epoch"  # Tune's name for a trial's time, by which schedulers compare
_REPORT = "report"


@dataclass
class TrialOutcome:
    """The progress of a training, for searchers and schedulers.

    epoch: the last finished epoch.
    value: the study's metric after this epoch, the worst value if training diverged. The scheduler
        compares this value: a maximum over epochs would favour noisy trials.
    best: the best value up to this epoch.
    finished: True if the training has reached its own end. Tune's `done` is also set if the
        scheduler stops a trial; this is not.
    """

    epoch: int
    value: float
    best: float
    finished: bool
    diverged: bool


@dataclass
class TrialReport(TrialOutcome):
    """The state of a training after a step.

    rows: one per epoch of this step, reused ones included.
    reused_from, reused_epochs: the trial whose epochs were reused, and their number.
    probabilities: validation probabilities at the best epoch so far, (n, classes); only at stops,
        and only where the best epoch is a new one.
    train_accuracy_at_best: training accuracy at the same epoch, without augmentation.
    """

    rows: list[Row]
    reused_from: str | None
    reused_epochs: int
    node: str
    gpu: str | None
    parameters: int
    trainable_parameters: int
    probabilities: npt.NDArray[np.float32] | None = None
    train_accuracy_at_best: float | None = None

    def to_result(self, metric: str) -> dict[str, Any]:
        """Return Tune's dictionary: the entries that Tune itself reads, and the report."""
        return {EPOCH: self.epoch, metric: self.value, "done": self.finished, _REPORT: self}

    @classmethod
    def of(cls, result: Mapping[str, Any] | None) -> "TrialReport | None":
        """Return the report in Tune's dictionary; None if the trial has not reported yet."""
        report: TrialReport | None = (result or {}).get(_REPORT)
        return report

    def take_probabilities(self) -> npt.NDArray[np.float32] | None:
        """Return the probabilities and drop them: Tune keeps every trial's last report."""
        probabilities, self.probabilities = self.probabilities, None
        return probabilities
