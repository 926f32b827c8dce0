"""The metric against each hyperparameter that varied, one panel each."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.style import (
    DARK,
    STATUS_COLORS,
    dot,
    key,
    limits,
    log_scaled,
    new_figure,
    short_label,
    truncate,
)
from tune_bio.analysis.study_records import LOG_SCALED, PARAMS
from tune_bio.common.labels import short_name

_COLUMNS = 2
_PANEL, _REST = 1.35, 0.4  # inches
_MOST = 10  # panels on a page
_FEW = 4  # a numeric hyperparameter with at most so many values is plotted like a categorical one
_CHARACTERS = 14
_LABELS = 10  # on a categorical axis; with more values, only every second or third is labelled


def applies_hyperparameters(data: FigureData) -> bool:
    """Return True if at least two trials have a score and a hyperparameter varied."""
    return len(data.study.ranking) > 1 and bool(data.study.searched)


def hyperparameters(data: FigureData) -> Figure:
    """Plot the metric at each trial's best epoch against each hyperparameter that varied.

    Replicates are included if the whole grid was replicated: no trial was selected by its score,
    so all seeds are equivalent.
    """
    study, scored = data.study, _scored_trials(data)
    names = data.study.searched[:_MOST]
    rows = -(-len(names) // _COLUMNS)
    columns = min(_COLUMNS, len(names))
    figure, grid = new_figure(rows, columns, _PANEL * rows + _REST, sharey=True)
    for name, axes in zip(names, grid, strict=False):
        _plot_hyperparameter(axes, scored, name)
        axes.set_ylim(*limits(scored["score"], study.metric))
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    for axes in grid[::columns]:
        axes.set_ylabel(f"validation {short_name(study.metric)}")
    statuses = [status for status in STATUS_COLORS if status in set(scored["status"])]
    entries = [dot(STATUS_COLORS[s], s.replace("_", " "), alpha=0.8) for s in statuses]
    entries.append(key(DARK, "median", linewidth=1.2))
    seeds = "all seeds of all configurations" if len(scored) > len(study.ranking) else None
    figure.legend(
        handles=entries, loc="outside lower left", ncols=len(entries), title=seeds, alignment="left"
    )
    return figure


def _scored_trials(data: FigureData) -> pd.DataFrame:
    study = data.study
    if not study.whole or study.replicates.empty:
        return study.ranking
    return pd.concat([study.trials, study.replicates]).dropna(subset=["score"])


def _plot_hyperparameter(axes: Axes, table: pd.DataFrame, name: str) -> None:
    scored = table.dropna(subset=[PARAMS + name])
    values = scored[PARAMS + name]
    colors = [STATUS_COLORS[status] for status in scored["status"]]
    axes.set_title(name)
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > _FEW:
        axes.scatter(
            values, scored["score"], c=colors, s=9, alpha=0.8, linewidths=0, clip_on=False
        ).set_gid(name)  # fmt: skip
        if name in LOG_SCALED and (values > 0).all():
            axes.set_xscale("log")
            log_scaled(axes.xaxis, values.to_numpy(), 3)
        return
    levels = sorted(values.unique())
    # A fixed pattern separates equal values; random jitter would differ from run to run.
    jitter = (np.arange(len(values)) * 0.618 % 1 - 0.5) * 0.4
    positions = np.array([levels.index(value) for value in values], dtype=float)
    axes.scatter(
        positions + jitter, scored["score"], c=colors, s=9, alpha=0.8, linewidths=0, clip_on=False
    ).set_gid(name)  # fmt: skip
    for position, value in enumerate(levels):
        median = scored["score"][values == value].median()
        axes.hlines(median, position - 0.3, position + 0.3, color=DARK, linewidth=1.2)
    labels = [truncate(short_label(value), _CHARACTERS) for value in levels]
    step = -(-len(labels) // _LABELS)
    labels = [label if k % step == 0 else "" for k, label in enumerate(labels)]
    crowded = sum(map(len, labels)) > 20
    axes.set_xticks(
        range(len(levels)), labels, rotation=25 if crowded else 0,
        ha="right" if crowded else "center", rotation_mode="anchor",
    )  # fmt: skip
    axes.set_xlim(-0.6, len(levels) - 0.4)
    axes.grid(axis="x", visible=False)
