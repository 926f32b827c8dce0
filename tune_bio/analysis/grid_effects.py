"""What each hyperparameter does in a grid that was replicated whole, as far as it can be told."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from tune_bio.analysis.statistics import Effect, effects
from tune_bio.analysis.study_records import PARAMS, StudyRecords
from tune_bio.analysis.tables.trial_table import hyperparameters_of
from tune_bio.errors import AliasError
from tune_bio.space.trial_config import format_value

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
    how: dict[str, Any] = {"value": column, "fractions": not study.ascending}
    if not names:  # one configuration alone
        return at, (), ()
    try:
        if set(dropped) - {"epochs"} and _one_a_level(table, names):
            raise AliasError(f"{names[0]} has a value of its own in each", "cross them in a grid")
        found = effects(table, names, **how)
    except AliasError as error:
        whole = table.assign(configuration=_told(study, trained))
        found = effects(whole, ["configuration"], **how)
        return at, tuple(found), (f"whole configurations are compared: {error.fault}",)
    return at, tuple(found), tuple(_where_it_went(table, name, names) for name in dropped)


def _told(study: StudyRecords, trained: pd.DataFrame) -> list[str]:
    """Each row's configuration in words; with its trial where the words are also another's."""
    words = [hyperparameters_of(study.params(row), study.searched) for _, row in trained.iterrows()]
    told = trained[["config_id"]].assign(words=words)
    first = trained.groupby("config_id")["trial_id"].transform("min")
    ambiguous = told.groupby("words")["config_id"].transform("nunique") > 1
    return told["words"].where(~ambiguous, told["words"] + " (" + first + ")").tolist()


def _where_it_went(table: pd.DataFrame, name: str, names: Sequence[str]) -> str:
    """Why a hyperparameter has no effect of its own."""
    for other in names:
        inactive = table[other].isna()
        without, among = set(table.loc[inactive, name]), set(table.loc[~inactive, name])
        if without and not without & among:
            values = ", ".join(sorted(map(format_value, without)))
            return f"{name} is part of {other}, which is inactive under {values}"
    return f"{name} goes with others here, and has no effect of its own"


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
    levels = table[names[0]].nunique(dropna=False)
    return len(names) == 1 and bool(levels == table["config_id"].nunique())
