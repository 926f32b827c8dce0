"""What each hyperparameter does in a grid that was replicated whole, as far as it can be told."""

from collections.abc import Sequence

import pandas as pd

from tune_bio.analysis.report_table import hyperparameters_of
from tune_bio.analysis.statistics import Effect, effects
from tune_bio.analysis.study_records import PARAMS, StudyRecords
from tune_bio.errors import AliasError

# At which epoch they are judged, the effects, and what is to be said of them.
Effects = tuple[str, tuple[Effect, ...], tuple[str, ...]]


def as_effects(study: StudyRecords, counted: pd.DataFrame) -> Effects:
    """Of each hyperparameter of a grid that was replicated whole.

    Where lengths differ, at the last epoch: the best of 60 epochs beats the best of 10 by being
    the best of more. Where hyperparameters cannot be told apart, as those of networks that differ
    in several at once, whole configurations are compared instead.
    """
    at, column = ("last epoch", "last") if "epochs" in study.searched else ("best epoch", "score")
    trained = trainings(counted)
    table = trained.rename(columns=lambda name: str(name).removeprefix(PARAMS))
    names, dropped = _independent(table, study.searched)
    if not names:  # one configuration alone
        return at, (), ()
    try:
        if set(dropped) - {"epochs"} and _one_a_level(table, names):
            raise AliasError(f"{names[0]} has a value of its own in each", "cross them in a grid")
        found = effects(table, names, value=column)
    except AliasError as error:
        told = [
            hyperparameters_of(study.params(row), study.searched) for _, row in trained.iterrows()
        ]
        found = effects(table.assign(configuration=told), ["configuration"], value=column)
        return at, tuple(found), (f"whole configurations are compared: {error.fault}",)
    notes = tuple(f"{name} goes with others here, and has no effect of its own" for name in dropped)
    return at, tuple(found), notes


def trainings(counted: pd.DataFrame) -> pd.DataFrame:
    """Each training once: of lengths that are parts of one, the longest alone.

    The others are the same epochs again, and would make the noise look smaller than it is.
    """
    if "reused_from" not in counted:
        return counted
    return counted[~counted["trial_id"].isin(counted["reused_from"].dropna())]


def _independent(table: pd.DataFrame, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The hyperparameters that trainings differ in, and of these, apart, what the others determine.

    As a learning rate that goes with what is frozen: it is part of that. Of two that determine each
    other the first is kept.
    """
    kept = [name for name in names if table[name].nunique(dropna=False) > 1]
    dropped = []
    for name in reversed(kept.copy()):
        others = [other for other in kept if other != name]
        if others and table.groupby(others, dropna=False)[name].nunique(dropna=False).max() == 1:
            kept.remove(name)
            dropped.append(name)
    return kept, dropped


def _one_a_level(table: pd.DataFrame, names: Sequence[str]) -> bool:
    """Whether one hyperparameter is left that names every configuration."""
    return len(names) == 1 and table[names[0]].nunique() == table["config_id"].nunique()
