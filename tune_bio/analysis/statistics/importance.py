"""Which hyperparameters go with good scores in an adaptive search? Association, and no more.

A searcher draws where scores were good, and a scheduler stops what was bad: no trial stands beside
another that differs in one thing alone. What causes what is asked of a grid (`effects`) or of an
ablation (`ablation`).
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

FEWEST = 50  # trials; a tenth of them are five, the fewest that the method is stable with
BEST = 0.1
PERMUTATIONS = 200
CHOICES = 10  # a column of numbers with no more values than these is one of choices


@dataclass(frozen=True)
class Association:
    """How a hyperparameter goes with being among the best tenth of the trials.

    `share` is its part of the importance of all; `p_value` how often shuffled scores give it as
    much importance, corrected by Holm. `best` and `all` tell its values among the best tenth of the
    trials that have it, and among all of these.
    """

    hyperparameter: str
    share: float
    p_value: float
    best: str
    all: str


@dataclass(frozen=True)
class Importances:
    """The greatest importance first; at `epoch`, over `trials`, `censored` others not having come
    that far.
    """

    epoch: int
    trials: int
    censored: int
    associations: tuple[Association, ...]
    method: str = "conditional PED-ANOVA of the best tenth; scores shuffled between trials"


def common_epoch(epochs: pd.DataFrame, metric: str, *, fewest: int = FEWEST) -> int | None:
    """The last epoch with the metric of at least half of the trials, and of at least `fewest`.

    Args:
        epochs: a row a trial and epoch: `trial_id`, `epoch`, and the metric (null: none).

    Returns:
        the epoch, from 1 on; None where too few trials have any.
    """
    known = epochs.dropna(subset=[metric])
    reached = known.groupby("epoch")["trial_id"].nunique()
    enough = reached[reached >= max(fewest, math.ceil(known["trial_id"].nunique() / 2))]
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
    """PED-ANOVA: where do the best tenth of the trials differ from all of them?

    The Pearson divergence of a hyperparameter's density among the best tenth from that among all
    trials, estimated by Parzen windows: Watanabe, Bansal & Hutter 2023, PED-ANOVA: Efficiently
    quantifying hyperparameter importance in arbitrary subspaces, IJCAI; Optuna's form for
    hyperparameters that not all trials have. Since all trials are the reference, what the searcher
    preferred counts for nothing by itself. Numbers enter by their rank, so that no scale has to be
    chosen. Shares of the importance sum to 1 even where nothing matters: the p-values tell, for an
    exchange of scores between trials, which for trials that were drawn adaptively is a guide and no
    exact test.

    Args:
        scores: one row a trial: a column a hyperparameter (null: the trial has none), one of scores
            at one epoch for all trials, the worst value where a trial diverged.
        hyperparameters: columns; those with one value are left out.
        value: the column of scores.
        epoch: at which the scores are, and `censored` how many trials were stopped before; told.
        lower_is_better: whether a smaller score is better.
        seed: of the permutations.

    Raises:
        StatisticsError: fewer than 50 scores, or no hyperparameter with two values.
    """
    table = scores.dropna(subset=[value]).reset_index(drop=True)
    if len(table) < FEWEST:
        raise StatisticsError(
            f"{len(table)} trials are too few to tell what goes with good scores",
            f"{FEWEST} or more must have come to one epoch, as with --num-trials 60",
        )
    names = [name for name in hyperparameters if table[name].nunique() > 1]
    if not names:
        raise StatisticsError("no hyperparameter has two values", "search one")
    losses = table[value].to_numpy(np.float64) * (1.0 if lower_is_better else -1.0)
    study = _as_study(table, names)
    own = _divergences(study, losses, names)
    p_values = holm(_p_values(study, own, losses, names, np.random.default_rng(seed)))
    shares = own / own.sum() if own.sum() > 0 else np.full(len(names), 1 / len(names))
    is_best = losses <= np.sort(losses)[math.ceil(BEST * len(losses)) - 1]
    found = [
        Association(name, float(share), p, *_told(table[name], is_best))
        for name, share, p in zip(names, shares, p_values, strict=True)
    ]
    found.sort(key=lambda one: -one.share)
    return Importances(epoch, len(table), censored, tuple(found))


def _p_values(
    study: optuna.Study, own: Floats, losses: Floats, names: Sequence[str], rng: np.random.Generator
) -> list[float]:
    """The share of shuffles that give each as much, the trials as they are among them."""
    shuffles = max(PERMUTATIONS, 40 * len(names))  # Holm's correction leaves the smallest at 1/40
    drawn = [_divergences(study, rng.permutation(losses), names) for _ in range(shuffles)]
    as_great = (np.stack(drawn) >= own - 1e-12).sum(axis=0)
    found: list[float] = ((1 + as_great) / (shuffles + 1)).tolist()
    return found


def _as_study(table: pd.DataFrame, names: Sequence[str]) -> optuna.Study:
    """A row a trial of Optuna; its score is given when it is evaluated."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # else it tells that a study was made
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
    """Choices as they are; other numbers by rank, from 0 to 1."""
    if _is_range(column):
        ranks = column.rank(method="average")
        low, high = float(ranks.min()), float(ranks.max())
        return ((ranks - low) / (high - low)).tolist(), FloatDistribution(0.0, 1.0)
    names = column.map(_name)
    return names.tolist(), CategoricalDistribution(sorted(names[column.notna()].unique()))


def _divergences(study: optuna.Study, losses: Floats, names: Sequence[str]) -> Floats:
    """The importance of each hyperparameter, (names,), for these losses of the trials."""
    with warnings.catch_warnings():
        # Optuna warns that it takes less for better, as these losses are, and of regimes with one
        # trial, which it leaves out.
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST)
        found = evaluator.evaluate(study, list(names), target=lambda trial: losses[trial.number])
    return np.array([found[name] for name in names])


def _told(column: pd.Series, is_best: Flags) -> tuple[str, str]:
    """A hyperparameter among the best trials and among all: the middle half, or how often."""
    active = column.notna()
    best, everything = column[active & is_best], column[active]
    if best.empty:
        return "no trial has it", f"{len(everything)} have it"
    if _is_range(column):
        halves = [np.quantile(c, [0.25, 0.75], method="nearest") for c in (best, everything)]
        told = [f"{low:.3g} to {high:.3g}" for low, high in halves]
        return told[0], told[1]
    commonest = best.map(_name).value_counts().index[0]
    told = [
        f"{commonest} in {(c.map(_name) == commonest).sum()} of {len(c)}"
        for c in (best, everything)
    ]
    return told[0], told[1]


def _is_range(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and column.nunique() > CHOICES


def _name(value: object) -> str:
    """A column of whole numbers with a null in it holds floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
