"""A recorded trial, which a resumed study passes to its searcher and scheduler."""

from collections.abc import Collection
from dataclasses import dataclass

from tune_bio.records.schema import Status
from tune_bio.space.trial_config import TrialConfig


@dataclass(frozen=True)
class RecordedTrial:
    """A trial of the records.

    steps: epoch and metric after each epoch; the worst value where training diverged.
    best: the metric at the best epoch.
    """

    trial: str
    config: TrialConfig
    status: Status
    steps: tuple[tuple[int, float], ...]
    best: float

    @property
    def ended(self) -> bool:
        """True if the trial will not be continued."""
        return self.status != "interrupted"

    @property
    def reached(self) -> int:
        """The last epoch on record."""
        return self.steps[-1][0] if self.steps else 0

    def at(self, epochs: Collection[int]) -> list[tuple[int, float]]:
        """Return the steps at these epochs."""
        return [step for step in self.steps if step[0] in epochs]
