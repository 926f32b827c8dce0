"""The three cues that distinguish the phantom's classes, and their levels in each class.

* density: the lungs are a little hazier. A linear model on pixels can use it.
* outline: every patient has one nodule somewhere in a lung, round or spiculated, at equal area and
  brightness. It requires local, position-independent features.
* texture: the lung markings are coarser or finer, at equal contrast. It requires local filters.
"""

from dataclasses import dataclass

import numpy as np

# Each pair gives the mean of a cue at its low and at its high end; the cue varies between patients
# with the standard deviation that follows. The ratio of gap to spread sets how informative a cue
# is: haze leaves a linear model well short of a perfect score, outline and texture reward learned
# features.
HAZE = (0.00, 0.06)  # brightness added to the lungs, as a share of the full grey range
HAZE_SPREAD = 0.04
SPICULATION = (0.10, 1.30)  # length of the longest spicules, as a share of the nodule's radius
SPICULATION_SPREAD = 0.25
FINENESS = (0.18, 0.75)  # share of the lung markings' variance that is fine rather than coarse
FINENESS_SPREAD = 0.30

# Haze, spiculation and fineness of each class, from 0 (the low end) to 1 (the high end). A phantom
# of k classes has the first k rows. Any two rows differ by a whole gap in at least one cue, or by
# half of the widest gap, which is 2.4 standard deviations. Haze has only its two ends: steps to a
# third level would be too small.
LEVELS = (
    (0, 0, 0),
    (1, 1, 1),
    (0, 1, 0),
    (1, 0, 1),
    (0, 0, 1),
    (1, 1, 0),
    (1, 0, 0),
    (0, 1, 1),
    (0, 0.5, 0),
    (1, 0.5, 1),
    (0, 0.5, 1),
    (1, 0.5, 0),
)
MAX_CLASSES = len(LEVELS)


@dataclass(frozen=True)
class Cues:
    """The means of the cues in one class, in the units of HAZE, SPICULATION and FINENESS."""

    haze: float
    spiculation: float
    fineness: float


def class_cues(classes: int) -> tuple[Cues, ...]:
    """Return the cues of each class of a phantom with `classes` classes."""
    return tuple(
        Cues(_between(haze, HAZE), _between(spiculation, SPICULATION), _between(fineness, FINENESS))
        for haze, spiculation, fineness in LEVELS[:classes]
    )


def _between(level: float, ends: tuple[float, float]) -> float:
    return float(np.interp(level, (0, 1), ends))
