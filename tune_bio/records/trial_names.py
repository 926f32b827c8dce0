"""Trial names: t0007 for a trial of the search, and names derived from it.

| name | trial |
|---|---|
| t0007 | the search's own trial at position 7 |
| t0007r2 | the same configuration under its second fresh seed |
| t0007a1r2 | the first change of an ablation of it, under the second seed |
| t0007s2r2 | the same configuration on the second re-split, under the second seed |
"""

import re
from dataclasses import dataclass, replace
from typing import Self

_PATTERN = re.compile(r"t(\d{4,})(?:a(\d+))?(?:s(\d+))?(?:r(\d+))?")


@dataclass(frozen=True)
class TrialName:
    """The parts of a trial's name; `str` writes it.

    position: of the configuration in the study, from 0.
    replicate: 0 for the search's own trial, else the number of its fresh seed.
    ablation: the number of the change, 0 where nothing is changed.
    resplit: the number of the re-split, 0 on the study's own split.
    """

    position: int
    replicate: int = 0
    ablation: int = 0
    resplit: int = 0

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read a name.

        Raises:
            ValueError: it is not the name of a trial.
        """
        match = _PATTERN.fullmatch(name)
        if match is None:
            raise ValueError(f"{name!r} is not the name of a trial")
        position, ablation, resplit, replicate = (int(part or 0) for part in match.groups())
        return cls(position, replicate, ablation, resplit)

    def __str__(self) -> str:
        parts = [f"t{self.position:04d}"]
        for letter, number in (("a", self.ablation), ("s", self.resplit), ("r", self.replicate)):
            parts += [f"{letter}{number}"] if number else []
        return "".join(parts)

    @property
    def is_searched(self) -> bool:
        """True for the search's own trial of a configuration."""
        return self.replicate == 0

    @property
    def confirms(self) -> bool:
        """True for a finalist's replicate, one of which is exported."""
        return self.replicate > 0 and not self.ablation and not self.resplit

    def under_seed(self, replicate: int) -> Self:
        """Return the name of this configuration under another of its seeds."""
        return replace(self, replicate=replicate)

    def changed(self, ablation: int) -> Self:
        """Return the name of this trial with one change of an ablation."""
        return replace(self, ablation=ablation)

    def on_resplit(self, number: int) -> Self:
        """Return the name of this configuration on a re-split; each re-split has its own seed."""
        return replace(self, resplit=number, replicate=number)
