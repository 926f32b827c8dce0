"""Timeline of the trials: when each ran, its rungs and how it ended; and the best score so far."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.style import (
    BLUE,
    DARK,
    PALE,
    SMALL,
    STATUS_COLORS,
    TALLEST,
    dot,
    key,
    limits,
    new_figure,
)
from tune_bio.common.labels import short_name
from tune_bio.space.settings import SearchSettings, rungs

_ROW, _REST = 0.105, 2.5  # inches
_START_UP = 0.2  # largest share of the time axis that may be empty before the first trial
_LABELLED = 50  # trial names that fit below each other


def applies_timeline(data: FigureData) -> bool:
    """Return True if there are at least two trials."""
    return len(data.study.trials) > 1


def trials_over_time(data: FigureData) -> Figure:
    """Plot one bar per trial with a tick at each rung it reached; below, the best score so far."""
    study = data.study
    count = len(study.trials)
    tall = min(max(1.0, _ROW * count), TALLEST - _REST)
    figure, (top, bottom) = new_figure(2, 1, tall + _REST, sharex=True, height_ratios=[tall, 1.1])
    rung_epochs = _rungs(data)
    _plot_bars(top, data, rung_epochs)
    step = -(-count // _LABELLED)
    top.set_yticks(range(0, count, step), list(study.trials["trial_id"])[::step], fontsize=SMALL)
    top.set(title="Trials over time", ylim=(count - 0.4, -0.6))
    top.set_xlim(left=_axis_start(data))
    top.grid(axis="y", visible=False)
    _plot_best(bottom, data)
    statuses = [s for s in STATUS_COLORS if s in set(study.trials["status"])]
    entries = [
        key(
            STATUS_COLORS[s], f"{s.replace('_', ' ')} ({(study.trials['status'] == s).sum()})",
            linewidth=4,
        )
        for s in statuses
    ]  # fmt: skip
    if rung_epochs:
        epochs = ", ".join(map(str, rung_epochs))
        entries.append(dot(DARK, f"rung at epoch {epochs}", "|", markersize=5))
    figure.legend(handles=entries, loc="outside lower left", ncols=2)
    return figure


def _rungs(data: FigureData) -> tuple[int, ...]:
    """Return the rungs of ASHA; none for the median rule, which compares trials at every epoch."""
    known = SearchSettings.model_fields
    recorded = data.study.manifest["settings"].items()
    settings = SearchSettings.of({name: value for name, value in recorded if name in known})
    return rungs(settings) if settings.scheduler == "asha" else ()


def _axis_start(data: FigureData) -> float:
    """Return the start of the time axis: 0, or the first trial's start if start-up took long."""
    times = [data.study.manifest["timeline"][t] for t in data.study.trials["trial_id"]]
    first, last = min(start for start, _ in times), max(end for _, end in times)
    return 0.0 if first < _START_UP * last else first - 0.02 * (last - first)


def _plot_bars(axes: Axes, data: FigureData, rung_epochs: Sequence[int]) -> None:
    study, times = data.study, data.study.manifest["timeline"]
    seconds = {
        trial: curve.set_index("epoch")["seconds"].sort_index().cumsum()
        for trial, curve in study.epochs.groupby("trial_id")
    }
    ticks = []
    for row, (_, trial) in enumerate(study.trials.iterrows()):
        start, end = times[trial["trial_id"]]
        color = STATUS_COLORS[trial["status"]]
        # The edge keeps very short trials visible, such as those on cached features.
        axes.barh(
            row, end - start, left=start, height=0.7, color=color, edgecolor=color, linewidth=0.5
        )
        elapsed = seconds.get(trial["trial_id"], pd.Series(dtype=float))
        for epoch in rung_epochs:
            if epoch in elapsed.index and elapsed.iloc[-1] > 0:
                # A trial's start-up time is divided among its epochs in proportion to their length.
                share = elapsed[epoch] / elapsed.iloc[-1]
                ticks.append((start + share * (end - start), row))
    if ticks:
        moments, rows = np.array(ticks).T
        axes.scatter(moments, rows, marker="|", s=16, color=DARK, linewidths=0.8, zorder=3).set_gid(
            "rungs"
        )


def _plot_best(axes: Axes, data: FigureData) -> None:
    study, times = data.study, data.study.manifest["timeline"]
    ended = study.trials.assign(end=[times[t][1] for t in study.trials["trial_id"]])
    ended = ended.dropna(subset=["score"]).sort_values("end")
    best = ended["score"].cummin() if study.ascending else ended["score"].cummax()
    axes.plot(ended["end"], ended["score"], "o", color=PALE, clip_on=False)
    axes.step(ended["end"], best, where="post", color=BLUE)
    axes.set(
        title="Best score so far",
        xlabel="time since the study started (s)",
        ylabel=f"validation {short_name(study.metric)}",
    )
    axes.set_ylim(*limits(ended["score"], study.metric))
