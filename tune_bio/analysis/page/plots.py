"""The data of plots.js: learning curves, and the score against each hyperparameter."""

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
DIGITS = 4  # significant digits in plots; the tables have full precision


def plot_data(study: StudyRecords, order: pd.DataFrame) -> dict[str, Any]:
    """Return the data of the plots as JSON values; missing numbers are null.

    Args:
        study: the records of the study.
        order: the trials in the order of the leaderboard, whose row numbers identify them in the
            plots.
    """
    trials = list(order["trial_id"])
    metrics = list(dict.fromkeys((study.metric, *CURVES)))
    curves = {name: _curves(study.epochs, name, trials) for name in metrics if name in study.epochs}
    return {
        "metric": study.metric,
        "label": metric_name(study.metric),
        "names": {name: metric_name(name) for name in curves},
        "trials": trials,
        "configuration": [configuration(study, row) for _, row in order.iterrows()],
        "status": [str(status) for status in order["status"]],
        "score": round_values(order["score"].to_numpy(np.float64)),
        "curves": curves,
        "panels": [_panel(order, name) for name in study.searched[:MOST_PANELS]],
    }


def round_values(values: npt.NDArray[np.float64]) -> list[float | None]:
    """Round for JSON, which has no NaN: undefined values become None."""
    return [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in values.tolist()]


def _curves(epochs: pd.DataFrame, name: str, trials: list[str]) -> list[list[float | None]]:
    """Return the values of each trial, from its first epoch to its last."""
    table = epochs.pivot(index="trial_id", columns="epoch", values=name)
    if table.empty:
        return [[] for _ in trials]
    table = table.reindex(index=trials, columns=range(1, int(table.columns.max()) + 1))
    values = table.to_numpy(np.float64)
    lengths = epochs.groupby("trial_id")["epoch"].max().reindex(trials).fillna(0).astype(int)
    return [round_values(row[:length]) for row, length in zip(values, lengths, strict=True)]


def _panel(order: pd.DataFrame, name: str) -> dict[str, Any]:
    """Describe a panel: a numeric scale, or categories in their order."""
    column = order[PARAMS + name]
    if pd.api.types.is_numeric_dtype(column) and column.nunique() > FEW_VALUES:
        log = name in LOG_SCALED and bool((column.dropna() > 0).all())
        values = round_values(column.to_numpy(np.float64))
        return {"name": name, "scale": "log" if log else "linear", "values": values}
    factors = sorted(column.dropna().unique().tolist())
    labels = {value: f"{value:g}" if isinstance(value, float) else str(value) for value in factors}
    return {
        "name": name,
        "scale": "names",
        "factors": [labels[value] for value in factors],
        "values": [None if pd.isna(value) else labels[value] for value in column],
    }
