"""Hyperparameters associated with good scores in an adaptive search: association, not cause.

A searcher samples where scores were good and a scheduler stops poor trials, so no trial has a
counterpart that differs in only one hyperparameter. Causes are estimated from a grid (`effects`) or
an ablation (`ablation`).
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from tune_bio.analysis.statistics.arrays import Flags, Floats
from tune_bio.analysis.statistics.comparison import holm
from tune_bio.errors import StatisticsError

MIN_TRIALS = 50  # a tenth of them are five, the fewest with which the method is stable
BEST = 0.1
PERMUTATIONS = 200
MAX_CHOICES = 10  # a column of numbers with at most this many values is categorical


@dataclass(frozen=True)
class Association:
    """Association of a hyperparameter with being among the best tenth of the trials.

    `share` is its part of the total importance; `p_value` is how often shuffled scores give it at
    least as much importance, corrected by Holm. `best` and `all` describe its values in the trials
    that have it: in those among the best tenth, and in all of them.
    """

    hyperparameter: str
    share: float
    p_value: float
    best: str
    all: str


@dataclass(frozen=True)
class Importances:
    """Associations of `trials` trials at `epoch`, the greatest importance first.

    `censored` further trials did not reach that epoch.
    """

    epoch: int
    trials: int
    censored: int
    associations: tuple[Association, ...]
    method: str = "conditional PED-ANOVA of the best tenth; scores shuffled between trials"


def common_epoch(epochs: pd.DataFrame, metric: str, *, min_trials: int = MIN_TRIALS) -> int | None:
    """Return the last epoch with the metric of at least half of the trials and of `min_trials`.

    Args:
        epochs: one row per trial and epoch: `trial_id`, `epoch` and the metric (null: none).
        metric: the column of the metric; trials without any value do not count.
        min_trials: at least this many trials must have the metric.

    Returns:
        The epoch, counted from 1; None if no epoch has enough trials.
    """
    known = epochs.dropna(subset=[metric])
    reached = known.groupby("epoch")["trial_id"].nunique()
    enough = reached[reached >= max(min_trials, math.ceil(known["trial_id"].nunique() / 2))]
    return None if enough.empty else int(enough.index.max())


def importances(
    scores: pd.DataFrame,
    hyperparameters: Sequence[str],
    *,
    value: str = "score",
    epoch: int,
    censored: int = 0,
    lower_is_better: bool = False,
    seed: int,
) -> Importances:
    """Estimate by PED-ANOVA how the best tenth of the trials differs from all trials.

    The importance is the Pearson divergence of a hyperparameter's density among the best tenth from
    that among all trials, estimated by Parzen windows: Watanabe, Bansal & Hutter 2023, PED-ANOVA:
    Efficiently quantifying hyperparameter importance in arbitrary subspaces, IJCAI; Optuna's
    version for hyperparameters that not all trials have. Since all trials are the reference, the
    searcher's preferences alone do not count. Numbers enter by rank, so that no scale has to be
    chosen. Shares of the importance sum to 1 even if nothing matters; the p-values show whether
    something does. They come from permuting scores between trials, which for adaptively sampled
    trials is a guide and not an exact test.

    Args:
        scores: one row per trial, with one column per hyperparameter (null: the trial does not have
            it) and one of scores, at one epoch for all trials; the worst value where a trial
            diverged.
        hyperparameters: columns; those with a single value are left out.
        value: the column of scores.
        epoch: the epoch of the scores, for the result only.
        censored: number of trials that were stopped before it, for the result only.
        lower_is_better: True if a lower score is better.
        seed: seed of the permutations.

    Raises:
        StatisticsError: there are fewer than 50 scores, or no hyperparameter has two values.
    """
    table = scores.dropna(subset=[value]).reset_index(drop=True)
    if len(table) < MIN_TRIALS:
        raise StatisticsError(
            f"{len(table)} trials are too few to find what goes with good scores",
            f"{MIN_TRIALS} or more must have reached one epoch, for example with --num-trials 60",
        )
    names = [name for name in hyperparameters if table[name].nunique() > 1]
    if not names:
        raise StatisticsError("no hyperparameter has two values", "search at least one")
    losses = table[value].to_numpy(np.float64) * (1.0 if lower_is_better else -1.0)
    study = _as_study(table, names)
    observed = _divergences(study, losses, names)
    p_values = holm(_p_values(study, observed, losses, names, np.random.default_rng(seed)))
    shares = (
        observed / observed.sum() if observed.sum() > 0 else np.full(len(names), 1 / len(names))
    )
    is_best = losses <= np.sort(losses)[math.ceil(BEST * len(losses)) - 1]
    associations = [
        Association(name, float(share), p, *_describe_values(table[name], is_best))
        for name, share, p in zip(names, shares, p_values, strict=True)
    ]
    associations.sort(key=lambda association: -association.share)
    return Importances(epoch, len(table), censored, tuple(associations))


def _p_values(
    study: optuna.Study,
    observed: Floats,
    losses: Floats,
    names: Sequence[str],
    rng: np.random.Generator,
) -> list[float]:
    """Return each hyperparameter's share of shuffles with at least its observed importance.

    The observed scores count as one shuffle.
    """
    shuffles = max(PERMUTATIONS, 40 * len(names))  # Holm's correction leaves the smallest at 1/40
    shuffled = [_divergences(study, rng.permutation(losses), names) for _ in range(shuffles)]
    as_large = (np.stack(shuffled) >= observed - 1e-12).sum(axis=0)
    p_values: list[float] = ((1 + as_large) / (shuffles + 1)).tolist()
    return p_values


def _as_study(table: pd.DataFrame, names: Sequence[str]) -> optuna.Study:
    """Return an Optuna study with one trial per row; the evaluation supplies the scores."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # otherwise it logs the creation
    study = optuna.create_study()
    optuna.logging.set_verbosity(verbosity)
    columns = {name: _as_distribution(table[name]) for name in names}
    for row in range(len(table)):
        active = [name for name in names if pd.notna(table[name].iloc[row])]
        study.add_trial(
            optuna.trial.create_trial(
                params={name: columns[name][0][row] for name in active},
                distributions={name: columns[name][1] for name in active},
                value=0.0,
            )
        )
    return study


def _as_distribution(column: pd.Series) -> tuple[Sequence[float | str], BaseDistribution]:
    """Return a column's values and distribution: choices as they are, other numbers by rank.

    Ranks are scaled to the range from 0 to 1.
    """
    if _is_range(column):
        ranks = column.rank(method="average")
        low, high = float(ranks.min()), float(ranks.max())
        return ((ranks - low) / (high - low)).tolist(), FloatDistribution(0.0, 1.0)
    names = column.map(_choice)
    return names.tolist(), CategoricalDistribution(sorted(names[column.notna()].unique()))


def _divergences(study: optuna.Study, losses: Floats, names: Sequence[str]) -> Floats:
    """Return the importance of each hyperparameter, (names,), given the losses of the trials."""
    with warnings.catch_warnings():
        # Optuna warns that lower values count as better, which is right for losses, and about
        # regimes with one trial, which it leaves out.
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST)
        importance = evaluator.evaluate(
            study, list(names), target=lambda trial: losses[trial.number]
        )
    return np.array([importance[name] for name in names])


def _describe_values(column: pd.Series, is_best: Flags) -> tuple[str, str]:
    """Describe a hyperparameter's values among the best trials, and among all.

    The middle half of a range; otherwise how often the best trials' most frequent choice occurs.
    """
    active = column.notna()
    best, everything = column[active & is_best], column[active]
    if best.empty:
        return "no trial has it", f"{len(everything)} trials have it"
    if _is_range(column):
        halves = [np.quantile(c, [0.25, 0.75], method="nearest") for c in (best, everything)]
        descriptions = [f"{low:.3g} to {high:.3g}" for low, high in halves]
        return descriptions[0], descriptions[1]
    mode = best.map(_choice).value_counts().index[0]
    descriptions = [
        f"{mode} in {(c.map(_choice) == mode).sum()} of {len(c)}" for c in (best, everything)
    ]
    return descriptions[0], descriptions[1]


def _is_range(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and column.nunique() > MAX_CHOICES


def _choice(value: object) -> str:
    """Return a choice as text; a column of whole numbers with a null holds floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
