"""Effects of hyperparameters in a grid of which every configuration was replicated."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from tune_bio.analysis.statistics import Effect, effects
from tune_bio.analysis.study_records import PARAMS, StudyRecords
from tune_bio.analysis.tables.trial_table import describe_hyperparameters
from tune_bio.errors import AliasError
from tune_bio.space.trial_config import format_value

# The epoch at which scores are compared, the effects, and notes on them.
Effects = tuple[str, tuple[Effect, ...], tuple[str, ...]]


def estimate_effects(study: StudyRecords, counted: pd.DataFrame) -> Effects:
    """Estimate the effect of each hyperparameter of a fully replicated grid.

    If lengths differ, scores are those of the last epoch: the best of 60 epochs beats the best of
    10 merely because it is the best of more. If effects cannot be separated, for example when
    networks differ in several hyperparameters at once, whole configurations are compared instead.
    """
    at, column = ("last epoch", "last") if "epochs" in study.searched else ("best epoch", "score")
    trained = distinct_trainings(counted)
    table = trained.rename(columns=lambda name: str(name).removeprefix(PARAMS))
    names, dropped = _split_independent(table, study.searched)
    kwargs: dict[str, Any] = {"value": column, "fractions": not study.ascending}
    if not names:  # a single configuration
        return at, (), ()
    try:
        if set(dropped) - {"epochs"} and _identifies_configurations(table, names):
            raise AliasError(
                f"{names[0]} has a different value in every configuration", "cross them in a grid"
            )
        estimates = effects(table, names, **kwargs)
    except AliasError as error:
        whole = table.assign(configuration=_configuration_labels(study, trained))
        estimates = effects(whole, ["configuration"], **kwargs)
        return at, tuple(estimates), (f"Whole configurations are compared: {error.fault}",)
    return at, tuple(estimates), tuple(_reason_dropped(table, name, names) for name in dropped)


def _configuration_labels(study: StudyRecords, trained: pd.DataFrame) -> list[str]:
    """Describe each row's configuration; add its trial where the description is ambiguous."""
    descriptions = [
        describe_hyperparameters(study.params(row), study.searched) for _, row in trained.iterrows()
    ]
    table = trained[["config_id"]].assign(text=descriptions)
    first = trained.groupby("config_id")["trial_id"].transform("min")
    ambiguous = table.groupby("text")["config_id"].transform("nunique") > 1
    return table["text"].where(~ambiguous, table["text"] + " (" + first + ")").tolist()


def _reason_dropped(table: pd.DataFrame, name: str, names: Sequence[str]) -> str:
    """Explain why a hyperparameter has no separate effect."""
    for other in names:
        inactive = table[other].isna()
        without, among = set(table.loc[inactive, name]), set(table.loc[~inactive, name])
        if without and not without & among:
            values = ", ".join(sorted(map(format_value, without)))
            return f"{name} is part of {other}, which is inactive under {values}"
    return f"{name} varies only together with others, so it has no separate effect"


def distinct_trainings(counted: pd.DataFrame) -> pd.DataFrame:
    """Return each training once: of several lengths of one training, the longest.

    The shorter ones repeat the same epochs, and would make the noise look smaller than it is.
    """
    if "reused_from" not in counted:
        return counted
    return counted[~counted["trial_id"].isin(counted["reused_from"].dropna())]


def _split_independent(table: pd.DataFrame, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the hyperparameters that vary independently, and those that the others determine.

    An example of the latter is a learning rate that depends on what is frozen: its effect is part
    of that of `freeze`. Of two hyperparameters that determine each other, the first is independent.
    """
    independent = [name for name in names if table[name].nunique(dropna=False) > 1]
    dropped = []
    for name in reversed(independent.copy()):
        others = [other for other in independent if other != name]
        if others and table.groupby(others, dropna=False)[name].nunique(dropna=False).max() == 1:
            independent.remove(name)
            dropped.append(name)
    return independent, dropped


def _identifies_configurations(table: pd.DataFrame, names: Sequence[str]) -> bool:
    """Return True if `names` is one hyperparameter, with a different value per configuration."""
    levels = table[names[0]].nunique(dropna=False)
    return len(names) == 1 and bool(levels == table["config_id"].nunique())
