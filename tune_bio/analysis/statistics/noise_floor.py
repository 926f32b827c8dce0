"""Noise floor: how much a score varies when only the seed changes."""

import math
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from tune_bio.analysis.statistics.intervals import LEVEL
from tune_bio.errors import StatisticsError

RECOMMENDED_DOF = 10


@dataclass(frozen=True)
class NoiseFloor:
    """Standard deviation of scores over seeds, pooled over configurations.

    `upper` is its one-sided 95 % upper bound. `note` says why the figure cannot be relied on, such
    as too few degrees of freedom.
    """

    sd: float
    degrees_of_freedom: int
    upper: float
    configurations: int
    note: str = ""


def noise_floor(
    scores: pd.DataFrame, *, configuration: str = "config_id", value: str = "score"
) -> NoiseFloor:
    """Estimate the pooled noise of the configurations that were trained with several seeds.

    The bound comes from the chi-square distribution, for normal noise of equal size in all
    configurations.

    Args:
        scores: one row per trial; rows without a score are left out.
        configuration: the column that identifies a configuration, regardless of the seed.
        value: the column of scores, numbers.

    Raises:
        StatisticsError: no configuration has two scores.
    """
    scored = scores.dropna(subset=[value])
    groups = scored.groupby(configuration)[value].agg(["var", "count"])
    repeated = groups[groups["count"] > 1]
    dof = int((repeated["count"] - 1).sum())
    if dof == 0:
        raise StatisticsError(
            "no configuration was trained with two seeds",
            "train replicates, for example with --replicates 3",
        )
    variance = float((repeated["var"] * (repeated["count"] - 1)).sum()) / dof
    upper = math.sqrt(variance * dof / float(stats.chi2.ppf(1 - LEVEL, dof)))
    notes = []
    if dof < RECOMMENDED_DOF:
        notes.append(f"only {dof} degrees of freedom, at least {RECOMMENDED_DOF} are recommended")
    if variance == 0:
        notes.append("no score varies between seeds: it is at its limit, or too coarse")
    return NoiseFloor(math.sqrt(variance), dof, upper, len(repeated), "; ".join(notes))
