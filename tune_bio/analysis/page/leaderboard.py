"""The leaderboard: every trial of the search on a row, sortable by each column."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tune_bio.analysis.study_records import PARAMS, StudyRecords
from tune_bio.common.labels import metric_name
from tune_bio.space.trial_config import format_value


@dataclass(frozen=True)
class Column:
    """Its head; numbers are sorted by size and stand to the right."""

    head: str
    numeric: bool


@dataclass(frozen=True)
class Cell:
    """What is shown, and what is sorted by (empty: last, either way)."""

    told: str
    value: str


@dataclass(frozen=True)
class Board:
    """Columns, and a row of cells a trial; the first column is the trial's name."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    statuses: tuple[str, ...]


def ordered(study: StudyRecords) -> pd.DataFrame:
    """The search's trials, the best first, those without a score last."""
    unscored = study.trials[study.trials["score"].isna()]
    return pd.concat([study.ranking, unscored]) if len(unscored) else study.ranking


def leaderboard(study: StudyRecords, order: pd.DataFrame) -> Board:
    """Scores, hyperparameters that varied, and cost of each trial, in the order given."""
    fresh = {one["trial"]: one["mean"] for one in study.confirmed}
    order = order.assign(fresh=order["trial_id"].map(fresh))
    wanted: list[tuple[str, str, Callable[[Any], str]]] = [
        ("score", metric_name(study.metric), _four),
        *([("fresh", "mean of fresh seeds", _four)] if fresh else []),
        ("status", "status", _words),
        *[(PARAMS + name, name, _plain) for name in study.searched],
        ("best_val_accuracy", "best accuracy", _four),
        ("best_val_loss", "best loss", _four),
        ("generalization_gap", "generalization gap", _four),
        ("best_epoch", "best epoch", _whole),
        ("epochs_run", "epochs", _whole),
        ("seconds", "seconds", _short),
        ("parameters", "parameters", _whole),
    ]
    wanted = [each for each in wanted if each[0] in order and order[each[0]].notna().any()]
    columns = [Column("trial", False)]
    table = [[Cell(str(trial), str(trial)) for trial in order["trial_id"]]]
    for name, head, tell in wanted:
        numeric = pd.api.types.is_numeric_dtype(order[name])
        columns.append(Column(head, numeric))
        table.append([_cell(value, tell) for value in order[name].tolist()])
    statuses = tuple(dict.fromkeys(_words(status) for status in order["status"]))
    return Board(tuple(columns), tuple(zip(*table, strict=True)), statuses)


def _cell(value: Any, tell: Callable[[Any], str]) -> Cell:
    return Cell("-", "") if pd.isna(value) else Cell(tell(value), str(value))


def _four(value: float) -> str:
    return f"{value:.4f}"


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _words(value: str) -> str:
    return str(value).replace("_", " ")


def _plain(value: Any) -> str:
    return format_value(value)
