"""The leaderboard: one row per trial of the search, sortable by each column."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tune_bio.analysis.study_records import PARAMS, StudyRecords
from tune_bio.common.labels import metric_name
from tune_bio.space.trial_config import format_value


@dataclass(frozen=True)
class Column:
    """A column heading; numeric columns are aligned right and sorted by value."""

    head: str
    numeric: bool


@dataclass(frozen=True)
class Cell:
    """The text of a cell and the value to sort by (empty: last in either order)."""

    text: str
    value: str


@dataclass(frozen=True)
class Board:
    """Columns, and one row of cells per trial; the first column is the trial's name."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    statuses: tuple[str, ...]


def leaderboard_order(study: StudyRecords) -> pd.DataFrame:
    """Return the trials of the search, the best first, those without a score last."""
    unscored = study.trials[study.trials["score"].isna()]
    return pd.concat([study.ranking, unscored]) if len(unscored) else study.ranking


def leaderboard(study: StudyRecords, order: pd.DataFrame) -> Board:
    """Tabulate the scores, varied hyperparameters and cost of each trial, in the given order."""
    fresh = {finalist["trial"]: finalist["mean"] for finalist in study.confirmed}
    order = order.assign(fresh=order["trial_id"].map(fresh))
    candidates: list[tuple[str, str, Callable[[Any], str]]] = [
        ("score", metric_name(study.metric), _four_digits),
        *([("fresh", "mean over fresh seeds", _four_digits)] if fresh else []),
        ("status", "status", _words),
        *[(PARAMS + name, name, _parameter) for name in study.searched],
        ("best_val_accuracy", "best accuracy", _four_digits),
        ("best_val_loss", "best loss", _four_digits),
        ("generalization_gap", "generalization gap", _four_digits),
        ("best_epoch", "best epoch", _integer),
        ("epochs_run", "epochs", _integer),
        ("seconds", "seconds", _seconds),
        ("parameters", "parameters", _integer),
    ]
    candidates = [c for c in candidates if c[0] in order and order[c[0]].notna().any()]
    columns = [Column("trial", False)]
    table = [[Cell(str(trial), str(trial)) for trial in order["trial_id"]]]
    for name, head, to_text in candidates:
        numeric = pd.api.types.is_numeric_dtype(order[name])
        columns.append(Column(head, numeric))
        table.append([_cell(value, to_text) for value in order[name].tolist()])
    statuses = tuple(dict.fromkeys(_words(status) for status in order["status"]))
    return Board(tuple(columns), tuple(zip(*table, strict=True)), statuses)


def _cell(value: Any, to_text: Callable[[Any], str]) -> Cell:
    return Cell("-", "") if pd.isna(value) else Cell(to_text(value), str(value))


def _four_digits(value: float) -> str:
    return f"{value:.4f}"


def _seconds(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _integer(value: float) -> str:
    return f"{value:,.0f}"


def _words(value: str) -> str:
    return str(value).replace("_", " ")


def _parameter(value: Any) -> str:
    return format_value(value)
