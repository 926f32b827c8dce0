"""A trial of the records, as a resumed study hands it to its searcher and its scheduler."""

from collections.abc import Collection
from dataclasses import dataclass

from tune_bio.records.schema import Status
from tune_bio.space.trial_config import TrialConfig


@dataclass(frozen=True)
class RecordedTrial:
    """A trial of the records.

    steps: the metric after each epoch; the worst value where training diverged.
    best: the best of them.
    """

    trial: str
    config: TrialConfig
    status: Status
    steps: tuple[tuple[int, float], ...]
    best: float

    @property
    def ended(self) -> bool:
        """True if it is not to be continued."""
        return self.status != "interrupted"

    @property
    def reached(self) -> int:
        """The last epoch on record."""
        return self.steps[-1][0] if self.steps else 0

    def at(self, epochs: Collection[int]) -> list[tuple[int, float]]:
        """Return the steps at these epochs."""
        return [step for step in self.steps if step[0] in epochs]
