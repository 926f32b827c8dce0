"""Confirmed configurations, one dot per seed, with noise floor and controls: the main figure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tune_bio.analysis.figures.figure_data import Configuration, FigureData
from tune_bio.analysis.figures.style import (
    DARK,
    GREY,
    SPLIT_COLORS,
    SPLIT_MARKERS,
    SPLIT_NAMES,
    dot,
    key,
    limits,
    new_figure,
    truncate,
    write_row,
)
from tune_bio.analysis.statistics import noise_floor
from tune_bio.analysis.statistics.intervals import t_quantile
from tune_bio.common.labels import short_name, without_split
from tune_bio.errors import StatisticsError

MOST = 20  # rows on a page
_ROW, _CONTROL, _REST = 0.34, 0.24, 1.05  # inches
_CHARACTERS = 72
_OFFSETS = {"val": 0.02, "test": 0.26}  # of the dots within a row, below its label
_BAND = "#dcdcdc"


@dataclass(frozen=True)
class ControlScore:
    """A control's metric on a split, with the limits of its interval (NaN if it has none)."""

    value: float
    low: float
    high: float


Controls = dict[str, dict[str, ControlScore]]  # by name, then by split


def applies_configurations(data: FigureData) -> bool:
    """Return True if a configuration was trained under several seeds."""
    return any(len(entry.scores["val"]) > 1 for entry in data.configurations)


def configurations(data: FigureData) -> Figure:
    """Plot one row per configuration and one dot per seed; below, the best and the controls."""
    shown, controls = data.configurations[:MOST], control_scores(data)
    rows = [_ROW * len(shown) + 0.3, *([_CONTROL * (len(controls) + 1) + 0.3] if controls else [])]
    figure, axes = new_figure(len(rows), 1, sum(rows) + _REST, height_ratios=rows)
    _plot_configurations(axes[0], data, shown, controls)
    if controls:
        _plot_controls(axes[1], data, shown[0], controls)
    _legend(figure, data, bool(controls))
    return figure


def control_scores(data: FigureData) -> Controls:
    """Return the study's metric of each control, by name and split."""
    predictors = data.study.manifest.get("controls", {}).get("predictors", [])
    metric, evaluations = without_split(data.study.metric), data.study.evaluations
    scores: Controls = {}
    for predictor in predictors:
        name, value = predictor["name"], predictor["validation"].get(metric)
        if value is None:
            continue
        scores[name] = {"val": ControlScore(value, math.nan, math.nan)}
        of_control = evaluations[
            (evaluations["trial"] == f"control:{name}") & (evaluations["metric"] == metric)
        ]
        for _, row in of_control.iterrows():
            if row["split"] in data.splits:
                scores[name][row["split"]] = ControlScore(row["value"], row["low"], row["high"])
    return scores


def half_widths(entries: Sequence[Configuration], split: str) -> dict[str, float]:
    """Return the half-width of each mean's 95 % interval over seeds, by trial.

    The intervals are those of Student's t with the spread pooled over all configurations, since
    the spread of only three seeds is a poor estimate.
    """
    table = pd.DataFrame(
        [
            {"config_id": entry.trial, "score": value}
            for entry in entries
            for value in entry.scores[split].values()
        ],
        columns=["config_id", "score"],
    )
    try:
        noise = noise_floor(table)
    except StatisticsError:  # no configuration has two seeds
        return {}
    quantile = t_quantile(noise.degrees_of_freedom)
    counts = table.groupby("config_id")["score"].count()
    return {str(trial): quantile * noise.sd / math.sqrt(n) for trial, n in counts.items()}


def _plot_configurations(
    axes: Axes, data: FigureData, shown: Sequence[Configuration], controls: Controls
) -> None:
    extent: list[float] = []  # values that the axis must include
    noise = data.conclusions.noise if data.conclusions else None
    if noise is not None:
        ends = shown[0].mean("val") - noise.sd, shown[0].mean("val") + noise.sd
        axes.axvspan(*ends, color=_BAND, linewidth=0, zorder=0.5).set_gid("noise-floor")
        extent += ends
    for split, offset in _OFFSETS.items():
        widths = half_widths(data.configurations, split)
        for row, entry in enumerate(shown):
            extent += _plot_seeds(axes, entry, split, row + offset, widths.get(entry.trial))
    for row, entry in enumerate(shown):
        text = truncate(f"{entry.trial}: {entry.label}", _CHARACTERS)
        write_row(axes, text, row - 0.27)
    low, high = limits(extent, data.study.metric)
    for scores in controls.values():
        if low < scores["val"].value < high:
            _mark_control(axes, scores["val"].value)
    axes.set(xlim=(low, high), ylim=(len(shown) - 0.5, -0.5))
    hidden = len(data.configurations) - len(shown)
    selection = f"best {len(shown)} of {len(data.configurations)}, " if hidden else ""
    axes.set_title(f"Configurations ({selection}one dot per seed)")
    axes.set_yticks([])
    _finish(axes, data)


def _plot_seeds(
    axes: Axes, entry: Configuration, split: str, height: float, half_width: float | None
) -> list[float]:
    """Plot the seeds, their mean and its interval; return the values that the axis must include."""
    values = list(entry.scores[split].values())
    if not values:
        return []
    color, mean = SPLIT_COLORS[split], entry.mean(split)
    axes.scatter(
        values, np.full(len(values), height), s=11, facecolor="white", edgecolor=color,
        linewidths=0.8, marker=SPLIT_MARKERS[split], clip_on=False, zorder=3,
    ).set_gid(f"{split}-{entry.trial}")  # fmt: skip
    ends = [] if half_width is None else [mean - half_width, mean + half_width]
    (line,) = axes.plot([*ends[:1], mean, *ends[1:]], [height] * (1 + len(ends)), color=color)
    line.set_gid(f"mean-{split}-{entry.trial}")
    axes.plot([mean], [height], "|", color=color, markersize=7, markeredgewidth=1.6, zorder=4)
    return [*values, *ends]


def _plot_controls(axes: Axes, data: FigureData, best: Configuration, controls: Controls) -> None:
    extent = [value for scores in best.scores.values() for value in scores.values()]
    for split, offset in _OFFSETS.items():
        if best.scores[split]:
            _plot_score(axes, split, offset, best.mean(split), math.nan, math.nan, filled=True)
        for row, (name, scores) in enumerate(controls.items(), start=1):
            if split in scores:
                score = scores[split]
                _plot_score(axes, split, row + offset, score.value, score.low, score.high)
                extent += [score.value, score.low, score.high]
            if split == "val":
                _mark_control(axes, scores["val"].value, name)
    labels = [f"{best.trial} (mean)", *(name.replace("_", " ") for name in controls)]
    axes.set_yticks([k + 0.14 for k in range(len(labels))], labels)
    low, high = limits(extent, data.study.metric)
    axes.set(xlim=(low, high), ylim=(len(labels) - 0.35, -0.35))
    axes.set_title("Best configuration and controls")
    _finish(axes, data)
    axes.tick_params(axis="y", length=0)


def _plot_score(
    axes: Axes, split: str, height: float, value: float, low: float, high: float,
    *, filled: bool = False,
) -> None:  # fmt: skip
    color = SPLIT_COLORS[split]
    axes.plot([low, high], [height, height], color=color, linewidth=0.8)
    axes.plot(
        [value], [height], SPLIT_MARKERS[split], color=color, clip_on=False, zorder=3,
        markerfacecolor=color if filled else "white", markeredgewidth=0.8,
    )  # fmt: skip


def _mark_control(axes: Axes, value: float, name: str | None = None) -> None:
    """Plot a control's vertical line; name it only once, since the name is an id in an SVG file."""
    line = axes.axvline(value, color=GREY, linewidth=0.7, linestyle=(0, (4, 2)), zorder=0.8)
    line.set_gid(f"control:{name}" if name else None)


def _finish(axes: Axes, data: FigureData) -> None:
    axes.set_xlabel(short_name(data.study.metric))
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)


def _legend(figure: Figure, data: FigureData, with_controls: bool) -> None:
    splits = [s for s in _OFFSETS if any(entry.scores[s] for entry in data.configurations)]
    entries: list[object] = [
        dot(
            SPLIT_COLORS[split], f"{SPLIT_NAMES[split]}, one seed", SPLIT_MARKERS[split],
            markerfacecolor="white",
        )
        for split in splits
    ]  # fmt: skip
    entries.append(key(DARK, "mean, 95 % interval over seeds", marker="|", markersize=6))
    noise = data.conclusions.noise if data.conclusions else None
    if noise is not None:
        entries.append(Patch(color=_BAND, label=f"noise floor (±1 SD, {noise.sd:.4f})"))
    if with_controls:
        entries.append(key(GREY, "control on validation", linestyle=(0, (4, 2))))
    figure.legend(handles=entries, loc="outside lower left", ncols=2)
