"""When each trial ran, where it was judged, how it ended; and the best value so far."""

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
_START_UP = 0.2  # of all the time, at most, is shown empty
_LABELLED = 50  # names of trials that stand below each other without touching


def applies_timeline(material: FigureData) -> bool:
    """Where there are two trials."""
    return len(material.study.trials) > 1


def trials_over_time(material: FigureData) -> Figure:
    """A bar a trial, with a tick at each rung that it came to; below, the best value so far."""
    study = material.study
    count = len(study.trials)
    tall = min(max(1.0, _ROW * count), TALLEST - _REST)
    figure, (top, bottom) = new_figure(2, 1, tall + _REST, sharex=True, height_ratios=[tall, 1.1])
    judged = _rungs(material)
    _draw_bars(top, material, judged)
    step = -(-count // _LABELLED)
    top.set_yticks(range(0, count, step), list(study.trials["trial_id"])[::step], fontsize=SMALL)
    top.set(title="Trials over time", ylim=(count - 0.4, -0.6))
    top.set_xlim(left=_beginning(material))
    top.grid(axis="y", visible=False)
    _draw_best(bottom, material)
    statuses = [s for s in STATUS_COLORS if s in set(study.trials["status"])]
    entries = [
        key(
            STATUS_COLORS[s], f"{s.replace('_', ' ')} ({(study.trials['status'] == s).sum()})",
            linewidth=4,
        )
        for s in statuses
    ]  # fmt: skip
    if judged:
        told = ", ".join(map(str, judged))
        entries.append(dot(DARK, f"rung, at epoch {told}", "|", markersize=5))
    figure.legend(handles=entries, loc="outside lower left", ncols=2)
    return figure


def _rungs(material: FigureData) -> tuple[int, ...]:
    """Where trials were compared; the median rule does so at every epoch, which says nothing."""
    known = SearchSettings.model_fields
    recorded = material.study.manifest["settings"].items()
    settings = SearchSettings.of({name: value for name, value in recorded if name in known})
    return rungs(settings) if settings.scheduler == "asha" else ()


def _beginning(material: FigureData) -> float:
    """Of the axis: when the study began, or, where starting up took long, the first trial."""
    times = [material.study.manifest["timeline"][t] for t in material.study.trials["trial_id"]]
    first, last = min(start for start, _ in times), max(end for _, end in times)
    return 0.0 if first < _START_UP * last else first - 0.02 * (last - first)


def _draw_bars(axes: Axes, material: FigureData, judged: Sequence[int]) -> None:
    study, times = material.study, material.study.manifest["timeline"]
    seconds = {
        trial: curve.set_index("epoch")["seconds"].sort_index().cumsum()
        for trial, curve in study.epochs.groupby("trial_id")
    }
    ticks = []
    for place, (_, trial) in enumerate(study.trials.iterrows()):
        start, end = times[trial["trial_id"]]
        color = STATUS_COLORS[trial["status"]]
        # The edge keeps a trial on cached features, which takes no time at all, in sight.
        axes.barh(
            place, end - start, left=start, height=0.7, color=color, edgecolor=color, linewidth=0.5
        )
        passed = seconds.get(trial["trial_id"], pd.Series(dtype=float))
        for epoch in judged:
            if epoch in passed.index and passed.iloc[-1] > 0:
                # Epochs fill a trial's time but for its start: that is shared out among them.
                share = passed[epoch] / passed.iloc[-1]
                ticks.append((start + share * (end - start), place))
    if ticks:
        at, places = np.array(ticks).T
        axes.scatter(at, places, marker="|", s=16, color=DARK, linewidths=0.8, zorder=3).set_gid(
            "rungs"
        )


def _draw_best(axes: Axes, material: FigureData) -> None:
    study, times = material.study, material.study.manifest["timeline"]
    ended = study.trials.assign(end=[times[t][1] for t in study.trials["trial_id"]])
    ended = ended.dropna(subset=["score"]).sort_values("end")
    best = ended["score"].cummin() if study.ascending else ended["score"].cummax()
    axes.plot(ended["end"], ended["score"], "o", color=PALE, clip_on=False)
    axes.step(ended["end"], best, where="post", color=BLUE)
    axes.set(
        title="Best so far",
        xlabel="seconds since the study began",
        ylabel=f"validation {short_name(study.metric)}",
    )
    axes.set_ylim(*limits(ended["score"], study.metric))
