"""How much does a score move when nothing but the seed is another?"""

import math
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from tune_bio.analysis.statistics.intervals import LEVEL
from tune_bio.errors import StatisticsError

WANTED = 10


@dataclass(frozen=True)
class NoiseFloor:
    """Standard deviation of scores over seeds, pooled over configurations.

    `upper` is its one-sided 95 % bound. `note` says where the degrees of freedom are too few for
    the figure to be relied on.
    """

    sd: float
    degrees_of_freedom: int
    upper: float
    configurations: int
    note: str = ""


def noise_floor(
    scores: pd.DataFrame, *, configuration: str = "config_id", value: str = "score"
) -> NoiseFloor:
    """The pooled noise of configurations that were trained under several seeds.

    The bound is that of chi-square, for normal noise of one size in all configurations.

    Args:
        scores: one row a trial; rows without a score are left out.
        configuration: the column that tells configurations apart, seeds left aside.
        value: the column of scores, numbers.

    Raises:
        StatisticsError: no configuration with two scores.
    """
    scored = scores.dropna(subset=[value])
    groups = scored.groupby(configuration)[value].agg(["var", "count"])
    repeated = groups[groups["count"] > 1]
    freedom = int((repeated["count"] - 1).sum())
    if freedom == 0:
        raise StatisticsError(
            "no configuration was trained under two seeds", "repeat some, as with --replicates 3"
        )
    variance = float((repeated["var"] * (repeated["count"] - 1)).sum()) / freedom
    upper = math.sqrt(variance * freedom / float(stats.chi2.ppf(1 - LEVEL, freedom)))
    notes = []
    if freedom < WANTED:
        notes.append(f"only {freedom} degrees of freedom, {WANTED} or more are wanted")
    if variance == 0:
        notes.append("no seed moved any score: it is at its end, or too coarse to show noise")
    return NoiseFloor(math.sqrt(variance), freedom, upper, len(repeated), "; ".join(notes))
