"""Effects of the hyperparameters of a grid: level means against the noise between seeds."""

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
MAX_SEEDS = 10_000
INACTIVE = "inactive"


@dataclass(frozen=True)
class LevelDifference:
    """Mean score of level `a` minus that of `b`, with simultaneous limits for all pairs."""

    a: str
    b: str
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Effect:
    """Effect of one hyperparameter in a grid; scores and differences in units of the score.

    `means` are the level means, adjusted as if every level met the same mix of the other
    hyperparameters; `range` is the largest mean minus the smallest. `p_value` is that of the F test
    against the noise within cells, corrected by Holm over the hyperparameters. `detectable` is the
    difference between two levels that would be distinguished from noise in 80 % of such grids;
    `seeds_needed` is the number of seeds per cell that makes a difference of `margin` detectable
    (None: more than 10,000).
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

    def format_difference(self, difference: float) -> str:
        """Format a difference of scores: in points for fractions, else as a plain number."""
        if not self.fractions:
            return f"{difference:.2g}"
        points = f"{100 * difference:.2g}"
        return f"{points} point" if points == "1" else f"{points} points"


@dataclass(frozen=True)
class _Noise:
    """Variance within cells, its degrees of freedom, number of cells, mean seeds per cell."""

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
    """Estimate the effect of each hyperparameter of a replicated grid, in the order given.

    Scores are modelled as the sum of one contribution per hyperparameter, fitted by least squares
    (in a full grid: plain level means). Each hyperparameter is tested by F, comparing the fits with
    and without it, against the variance between seeds within cells, so that interactions do not
    count as noise. Differences of levels have Tukey's simultaneous limits (Kramer 1956, Biometrics
    12:307, where levels have unequal numbers of trials). Cells trained with the same seeds are
    treated as independent: where a seed helps all of them alike, the limits are slightly too wide.

    Args:
        scores: one row per trial, with one column per hyperparameter (null: inactive, which is a
            level too) and one of scores; rows without a score are left out.
        hyperparameters: the columns, each with at least two levels.
        value: the column of scores.
        margin: differences below it count as equal, in units of the score.
        fractions: True if scores are fractions, so that 0.01 is shown as one point.

    Returns:
        One effect per hyperparameter. Its verdict is "equal within ..." if all limits of its
        differences are inside the margin, else "matters" (p < 0.05), else "cannot be distinguished
        from noise below X points", where X is the smallest detectable difference.

    Raises:
        AliasError: the others determine a hyperparameter.
        StatisticsError: no cell has two scores, the scores do not vary between seeds, or a
            hyperparameter has only one level.
    """
    table = scores.dropna(subset=[value])
    levels = {name: _levels(table, name) for name in hyperparameters}
    noise = _noise(table, levels, value)
    if noise.variance <= ROUNDING**2:
        raise StatisticsError(
            "no score varies between seeds", "effects are tested against that variation"
        )
    score = table[value].to_numpy(np.float64)
    raw = [_effect(name, levels, score, noise, margin, fractions) for name in hyperparameters]
    corrected = holm([effect.p_value for effect in raw])
    return [_with_verdict(effect, p) for effect, p in zip(raw, corrected, strict=True)]


def _levels(table: pd.DataFrame, name: str) -> pd.Series:
    """Return the column as categories: numbers in ascending order, then strings, inactive last."""
    values = sorted(table[name].dropna().unique().tolist(), key=lambda v: (isinstance(v, str), v))
    labels = {v: format_value(v) for v in values}
    if len(set(labels.values())) < len(labels):
        labels = {v: str(v) for v in values}
    names = [*dict.fromkeys(labels.values()), *([INACTIVE] if table[name].isna().any() else [])]
    if len(names) < 2:
        raise StatisticsError(f"{name} has only one level", "leave it out")
    column = table[name].map(labels).astype(object).where(table[name].notna(), INACTIVE)
    return pd.Series(pd.Categorical(column, categories=names), index=table.index)


def _noise(table: pd.DataFrame, levels: dict[str, pd.Series], value: str) -> _Noise:
    cells = table[value].groupby(list(levels.values()), observed=True).agg(["var", "count"])
    dof = int((cells["count"] - 1).sum())
    if dof == 0:
        raise StatisticsError(
            "no cell of the grid was trained with two seeds",
            "replicates distinguish effects from noise; add --replicates 3",
        )
    variance = float((cells["var"].fillna(0) * (cells["count"] - 1)).sum()) / dof
    return _Noise(variance, dof, len(cells), float(cells["count"].mean()))


def _effect(
    name: str,
    levels: dict[str, pd.Series],
    score: Floats,
    noise: _Noise,
    margin: float,
    fractions: bool,
) -> Effect:
    others = {other: levels[other] for other in levels if other != name}
    full, columns = _design(levels, len(score))
    reduced, _ = _design(others, len(score))
    dof = int(np.linalg.matrix_rank(full) - np.linalg.matrix_rank(reduced))
    names = [str(level) for level in levels[name].cat.categories]
    if dof < len(names) - 1:
        raise AliasError(
            f"the other hyperparameters determine {name}",
            "leave one of them out, or complete the grid",
        )
    explained = max(0.0, _residual(reduced, score) - _residual(full, score))
    f = explained / dof / noise.variance
    p = float(stats.f.sf(f, dof, noise.degrees_of_freedom))
    weights = _mean_weights(full, columns, name, names)
    means = weights @ score
    # Variance of each difference of two means, relative to that of the noise.
    relative_variances = {
        (i, j): float(((weights[i] - weights[j]) ** 2).sum())
        for i, j in itertools.combinations(range(len(names)), 2)
    }
    widest = max(relative_variances.values())
    return Effect(
        name,
        dict(zip(names, means.tolist(), strict=True)),
        float(np.ptp(means)),
        f,
        (dof, noise.degrees_of_freedom),
        p,
        _tukey(names, means, relative_variances, noise),
        math.sqrt(noise.variance),
        math.sqrt(noise.variance * widest) * _detectable(len(names), noise.degrees_of_freedom),
        _seeds_needed(noise, widest, len(names), margin),
        margin,
        fractions,
        "",
    )


def _design(levels: dict[str, pd.Series], trials: int) -> tuple[Floats, list[tuple[str, str]]]:
    """Return the design matrix: an intercept and one column for each level but the first.

    Its shape is (trials, 1 + columns); the columns are listed by hyperparameter and level.
    """
    columns = [
        (name, level) for name, column in levels.items() for level in column.cat.categories[1:]
    ]
    indicators = [(levels[name] == level).to_numpy(np.float64) for name, level in columns]
    return np.stack([np.ones(trials), *indicators], axis=1), columns


def _mean_weights(
    design: Floats, columns: list[tuple[str, str]], name: str, names: list[str]
) -> Floats:
    """Return the weight of each trial's score in each level's mean, (levels, trials)."""
    points = np.tile(design.mean(axis=0), (len(names), 1))
    for row, level in enumerate(names):
        for k, (other, column_level) in enumerate(columns, start=1):
            if other == name:
                points[row, k] = float(column_level == level)
    weights: Floats = points @ np.linalg.pinv(design)
    return weights


def _residual(design: Floats, score: Floats) -> float:
    coefficients = np.linalg.lstsq(design, score, rcond=None)[0]
    return float(((score - design @ coefficients) ** 2).sum())


def _tukey(
    names: list[str],
    means: Floats,
    relative_variances: dict[tuple[int, int], float],
    noise: _Noise,
) -> tuple[LevelDifference, ...]:
    critical = _critical_value(len(names), noise.degrees_of_freedom)
    differences = []
    for (i, j), relative_variance in relative_variances.items():
        difference = float(means[i] - means[j])
        half = critical * math.sqrt(noise.variance * relative_variance)
        differences.append(
            LevelDifference(names[i], names[j], difference, difference - half, difference + half)
        )
    return tuple(differences)


def _critical_value(levels: int, dof: float) -> float:
    """Return the largest difference of two levels that noise explains, in standard errors.

    For two levels it is the quantile of t.
    """
    if levels == 2:
        return float(stats.t.ppf((1 + LEVEL) / 2, dof))
    # SciPy's quantile solves for the bound of an integral, which takes hundreds of times as long.
    return float(qsturng(LEVEL, levels, dof)) / math.sqrt(2)


def _detectable(levels: int, dof: float) -> float:
    """Return the difference whose limits exclude 0 in 80 % of grids, in standard errors."""
    critical = _critical_value(levels, dof)
    return float(special.nctdtrinc(dof, 1 - POWER, critical))  # of the noncentral t


def _seeds_needed(
    noise: _Noise, relative_variance: float, levels: int, margin: float
) -> int | None:
    """Return the fewest seeds per cell with which a difference of the margin is detectable."""

    def suffices(seeds: int) -> bool:
        error = math.sqrt(noise.variance * relative_variance * noise.seeds / seeds)
        return error * _detectable(levels, noise.cells * (seeds - 1)) <= margin

    few, many = 1, 2  # one seed gives no estimate of the noise
    while not suffices(many):
        few, many = many, 2 * many
        if few > MAX_SEEDS:
            return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if suffices(middle) else (middle, many)
    return many


def _with_verdict(effect: Effect, p_value: float) -> Effect:
    inside = all(
        abs(limit) < effect.margin for d in effect.differences for limit in (d.low, d.high)
    )
    if inside:
        verdict = f"equal within {effect.format_difference(effect.margin)}"
    elif p_value < 1 - LEVEL:
        verdict = "matters"
    else:
        verdict = (
            "cannot be distinguished from noise below "
            f"{effect.format_difference(effect.detectable)}"
        )
    return replace(effect, p_value=p_value, verdict=verdict)
