"""What plots.js draws: every trial's curves, and its score against each hyperparameter."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tune_bio.analysis.study_records import LOG_SCALED, PARAMS, StudyRecords
from tune_bio.analysis.tables.trial_table import configuration
from tune_bio.common.labels import metric_name

CURVES = ("val_auroc", "val_loss", "train_loss", "val_accuracy", "train_accuracy")
FEW_VALUES = 4
MOST_PANELS = 12
DIGITS = 4  # of what is drawn; the tables have all


def plots(study: StudyRecords, order: pd.DataFrame) -> dict[str, Any]:
    """As plain JSON; missing numbers are null.

    Args:
        study: its tables.
        order: the trials, in the order of the leaderboard; the numbers of its rows are those of
            the plots' trials.
    """
    trials = list(order["trial_id"])
    named = list(dict.fromkeys((study.metric, *CURVES)))
    curves = {name: _curves(study.epochs, name, trials) for name in named if name in study.epochs}
    return {
        "metric": study.metric,
        "label": metric_name(study.metric),
        "names": {name: metric_name(name) for name in curves},
        "trials": trials,
        "told": [configuration(study, row) for _, row in order.iterrows()],
        "status": [str(status) for status in order["status"]],
        "score": numbers(order["score"].to_numpy(np.float64)),
        "curves": curves,
        "panels": [_panel(order, name) for name in study.searched[:MOST_PANELS]],
    }


def numbers(values: npt.NDArray[np.float64]) -> list[float | None]:
    """Rounded, for JSON, which has no NaN."""
    return [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in values.tolist()]


def _curves(epochs: pd.DataFrame, name: str, trials: list[str]) -> list[list[float | None]]:
    """A trial a list, from its first epoch to its last one."""
    table = epochs.pivot(index="trial_id", columns="epoch", values=name)
    if table.empty:
        return [[] for _ in trials]
    table = table.reindex(index=trials, columns=range(1, int(table.columns.max()) + 1))
    values = table.to_numpy(np.float64)
    lengths = epochs.groupby("trial_id")["epoch"].max().reindex(trials).fillna(0).astype(int)
    return [numbers(row[:length]) for row, length in zip(values, lengths, strict=True)]


def _panel(order: pd.DataFrame, name: str) -> dict[str, Any]:
    """A hyperparameter: a scale of numbers, or names in their order."""
    column = order[PARAMS + name]
    if pd.api.types.is_numeric_dtype(column) and column.nunique() > FEW_VALUES:
        log = name in LOG_SCALED and bool((column.dropna() > 0).all())
        values = numbers(column.to_numpy(np.float64))
        return {"name": name, "scale": "log" if log else "linear", "values": values}
    factors = sorted(column.dropna().unique().tolist())
    told = {value: f"{value:g}" if isinstance(value, float) else str(value) for value in factors}
    return {
        "name": name,
        "scale": "names",
        "factors": [told[value] for value in factors],
        "values": [None if pd.isna(value) else told[value] for value in column],
    }
