"""Which hyperparameters of a grid matter? Level means against the noise of seeds."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import special, stats
from statsmodels.stats.libqsturng import qsturng

from tune_bio.analysis.statistics.arrays import Floats
from tune_bio.analysis.statistics.comparison import holm
from tune_bio.analysis.statistics.intervals import LEVEL, ROUNDING
from tune_bio.errors import AliasError, StatisticsError
from tune_bio.space.trial_config import format_value

POWER = 0.8
MOST_SEEDS = 10_000
INACTIVE = "inactive"


@dataclass(frozen=True)
class LevelDifference:
    """Mean score of level `a` less that of `b`, with limits that hold for all pairs at once."""

    a: str
    b: str
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Effect:
    """What one hyperparameter does in a grid; scores and differences in the units of the score.

    `means` are the levels' means, as if each stood beside the others equally often; `range` the
    greatest less the smallest. `p_value` is of the F test against the noise within cells, corrected
    by Holm over the hyperparameters. `detectable` is the difference of two levels that would be
    told from noise in 80 % of such grids, `seeds_needed` how many seeds a cell would do that for a
    difference of `margin` (None: more than 10,000).
    """

    hyperparameter: str
    means: dict[str, float]
    range: float
    f: float
    degrees_of_freedom: tuple[int, int]
    p_value: float
    differences: tuple[LevelDifference, ...]
    noise: float
    detectable: float
    seeds_needed: int | None
    margin: float
    fractions: bool
    verdict: str

    def told(self, difference: float) -> str:
        """A difference of scores in words: points of a fraction, else the number alone."""
        if not self.fractions:
            return f"{difference:.2g}"
        points = f"{100 * difference:.2g}"
        return f"{points} point" if points == "1" else f"{points} points"


@dataclass(frozen=True)
class _Noise:
    """Variance within cells, its degrees of freedom, how many cells and seeds a cell."""

    variance: float
    degrees_of_freedom: int
    cells: int
    seeds: float


def effects(
    scores: pd.DataFrame,
    hyperparameters: Sequence[str],
    *,
    value: str = "score",
    margin: float = 0.01,
    fractions: bool = True,
) -> list[Effect]:
    """The effect of each hyperparameter of a replicated grid, in the order given.

    Scores are the sum of one contribution a hyperparameter, by least squares (in a full grid: plain
    level means). Each is tested by F, leaving it out, against the variance of seeds within cells:
    what hyperparameters do together is no noise. Differences of levels have Tukey's simultaneous
    limits (Kramer 1956, Biometrics 12:307, where levels are unevenly filled). Cells that were
    trained under the same seeds are taken for independent ones: where a seed helps all of them
    alike, limits are a little too wide.

    Args:
        scores: one row a trial: a column a hyperparameter (null: inactive, a level of its own) and
            one of scores; rows without a score are left out.
        hyperparameters: the columns, each with two levels at least.
        value: the column of scores.
        margin: what counts as equal, in units of the score.
        fractions: whether scores are, so that 0.01 is told as one point.

    Returns:
        an effect a hyperparameter; its verdict is "equal within ...", where all limits of
        differences are inside the margin, else "matters" (p < 0.05), else "cannot be told from
        noise below X points", with X the smallest detectable difference.

    Raises:
        AliasError: a hyperparameter that the others determine.
        StatisticsError: no cell with two scores, scores that no seed moves, or a hyperparameter
            with one level.
    """
    table = scores.dropna(subset=[value])
    levels = {name: _levels(table, name) for name in hyperparameters}
    noise = _noise(table, levels, value)
    if noise.variance <= ROUNDING**2:
        raise StatisticsError(
            "no seed moves any score", "without noise nothing is to be compared with it"
        )
    score = table[value].to_numpy(np.float64)
    found = [_effect(name, levels, score, noise, margin, fractions) for name in hyperparameters]
    corrected = holm([effect.p_value for effect in found])
    return [_judged(effect, p) for effect, p in zip(found, corrected, strict=True)]


def _levels(table: pd.DataFrame, name: str) -> pd.Series:
    """The column as categories: numbers by size, then texts, what is inactive last."""
    values = sorted(table[name].dropna().unique().tolist(), key=lambda v: (isinstance(v, str), v))
    told = {v: format_value(v) for v in values}
    if len(set(told.values())) < len(told):
        told = {v: str(v) for v in values}
    names = [*dict.fromkeys(told.values()), *([INACTIVE] if table[name].isna().any() else [])]
    if len(names) < 2:
        raise StatisticsError(f"{name} has one level only", "leave it out")
    column = table[name].map(told).astype(object).where(table[name].notna(), INACTIVE)
    return pd.Series(pd.Categorical(column, categories=names), index=table.index)


def _noise(table: pd.DataFrame, levels: dict[str, pd.Series], value: str) -> _Noise:
    cells = table[value].groupby(list(levels.values()), observed=True).agg(["var", "count"])
    freedom = int((cells["count"] - 1).sum())
    if freedom == 0:
        raise StatisticsError(
            "no cell of the grid was trained under two seeds",
            "without replicates nothing tells an effect from noise; add --replicates 3",
        )
    within = float((cells["var"].fillna(0) * (cells["count"] - 1)).sum()) / freedom
    return _Noise(within, freedom, len(cells), float(cells["count"].mean()))


def _effect(
    name: str,
    levels: dict[str, pd.Series],
    score: Floats,
    noise: _Noise,
    margin: float,
    fractions: bool,
) -> Effect:
    others = {other: levels[other] for other in levels if other != name}
    whole, columns = _design(levels, len(score))
    reduced, _ = _design(others, len(score))
    freedom = int(np.linalg.matrix_rank(whole) - np.linalg.matrix_rank(reduced))
    names = [str(level) for level in levels[name].cat.categories]
    if freedom < len(names) - 1:
        raise AliasError(
            f"the other hyperparameters determine {name}",
            "leave one of them out, or complete the grid",
        )
    explained = max(0.0, _residual(reduced, score) - _residual(whole, score))
    f = explained / freedom / noise.variance
    p = float(stats.f.sf(f, freedom, noise.degrees_of_freedom))
    weights = _mean_weights(whole, columns, name, names)
    means = weights @ score
    # A difference's variance, in units of the noise.
    shares = {
        (i, j): float(((weights[i] - weights[j]) ** 2).sum())
        for i, j in itertools.combinations(range(len(names)), 2)
    }
    widest = max(shares.values())
    return Effect(
        name,
        dict(zip(names, means.tolist(), strict=True)),
        float(np.ptp(means)),
        f,
        (freedom, noise.degrees_of_freedom),
        p,
        _tukey(names, means, shares, noise),
        math.sqrt(noise.variance),
        math.sqrt(noise.variance * widest) * _detectable(len(names), noise.degrees_of_freedom),
        _seeds_needed(noise, widest, len(names), margin),
        margin,
        fractions,
        "",
    )


def _design(levels: dict[str, pd.Series], trials: int) -> tuple[Floats, list[tuple[str, str]]]:
    """An intercept and a column for each level but the first: (trials, columns)."""
    columns = [
        (name, level) for name, column in levels.items() for level in column.cat.categories[1:]
    ]
    indicators = [(levels[name] == level).to_numpy(np.float64) for name, level in columns]
    return np.stack([np.ones(trials), *indicators], axis=1), columns


def _mean_weights(
    design: Floats, columns: list[tuple[str, str]], name: str, names: list[str]
) -> Floats:
    """How each trial's score enters each level's mean, (levels, trials)."""
    at = np.tile(design.mean(axis=0), (len(names), 1))
    for row, level in enumerate(names):
        for k, (other, its_level) in enumerate(columns, start=1):
            if other == name:
                at[row, k] = float(its_level == level)
    weights: Floats = at @ np.linalg.pinv(design)
    return weights


def _residual(design: Floats, score: Floats) -> float:
    coefficients = np.linalg.lstsq(design, score, rcond=None)[0]
    return float(((score - design @ coefficients) ** 2).sum())


def _tukey(
    names: list[str], means: Floats, shares: dict[tuple[int, int], float], noise: _Noise
) -> tuple[LevelDifference, ...]:
    critical = _critical(len(names), noise.degrees_of_freedom)
    found = []
    for (i, j), share in shares.items():
        difference = float(means[i] - means[j])
        half = critical * math.sqrt(noise.variance * share)
        found.append(
            LevelDifference(names[i], names[j], difference, difference - half, difference + half)
        )
    return tuple(found)


def _critical(levels: int, freedom: float) -> float:
    """By so many standard errors may any two of these levels differ; of two levels it is t."""
    if levels == 2:
        return float(stats.t.ppf((1 + LEVEL) / 2, freedom))
    # SciPy's quantile is an integral solved for, and takes hundreds of times as long.
    return float(qsturng(LEVEL, levels, freedom)) / math.sqrt(2)


def _detectable(levels: int, freedom: float) -> float:
    """The difference that Tukey's limits tell from 0 in 80 % of grids, in standard errors."""
    critical = _critical(levels, freedom)
    return float(special.nctdtrinc(freedom, 1 - POWER, critical))  # of the noncentral t


def _seeds_needed(noise: _Noise, share: float, levels: int, margin: float) -> int | None:
    """The fewest seeds a cell with which a difference of the margin is detectable."""

    def enough(seeds: int) -> bool:
        error = math.sqrt(noise.variance * share * noise.seeds / seeds)
        return error * _detectable(levels, noise.cells * (seeds - 1)) <= margin

    few, many = 1, 2  # one seed has no noise to compare with
    while not enough(many):
        few, many = many, 2 * many
        if few > MOST_SEEDS:
            return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return many


def _judged(effect: Effect, p_value: float) -> Effect:
    inside = all(
        abs(limit) < effect.margin for d in effect.differences for limit in (d.low, d.high)
    )
    if inside:
        verdict = f"equal within {effect.told(effect.margin)}"
    elif p_value < 1 - LEVEL:
        verdict = "matters"
    else:
        verdict = f"cannot be told from noise below {effect.told(effect.detectable)}"
    return replace(effect, p_value=p_value, verdict=verdict)
