"""What a study has done before it was resumed: told to its searcher and its scheduler again."""

from collections.abc import Collection
from dataclasses import dataclass

from tune_bio.records.schema import Status
from tune_bio.space.trial_config import Params


@dataclass(frozen=True)
class RecordedTrial:
    """A trial of the records.

    params: complete hyperparameters, the seed among them.
    steps: the metric after each epoch; the worst value where training diverged.
    best: the best of them.
    """

    trial: str
    params: Params
    status: Status
    steps: tuple[tuple[int, float], ...]
    best: float

    @property
    def ended(self) -> bool:
        """Whether it is not to be continued."""
        return self.status != "interrupted"

    @property
    def reached(self) -> int:
        """The last epoch that is on record."""
        return self.steps[-1][0] if self.steps else 0

    def at(self, epochs: Collection[int]) -> list[tuple[int, float]]:
        """The steps at these epochs."""
        return [step for step in self.steps if step[0] in epochs]
