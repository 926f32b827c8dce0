"""The first figure to look at: what was confirmed, a dot a seed, beside noise and controls."""

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

MOST = 20  # rows: so many fit on a page
_ROW, _CONTROL, _REST = 0.34, 0.24, 1.05  # inches
_CHARACTERS = 72
_PLACES = {"val": 0.02, "test": 0.26}  # of a row, whose label is above
_BAND = "#dcdcdc"


@dataclass(frozen=True)
class ControlScore:
    """A control's metric on a split, with its interval where there is one."""

    value: float
    low: float
    high: float


Controls = dict[str, dict[str, ControlScore]]  # by name, then by split


def applies_configurations(material: FigureData) -> bool:
    """Where something was trained under several seeds."""
    return any(len(one.scores["val"]) > 1 for one in material.settings)


def configurations(material: FigureData) -> Figure:
    """A row a configuration, a dot a seed; below, the best one on one scale with the controls."""
    shown, controls = material.settings[:MOST], control_scores(material)
    tall = [_ROW * len(shown) + 0.3, *([_CONTROL * (len(controls) + 1) + 0.3] if controls else [])]
    figure, axes = new_figure(len(tall), 1, sum(tall) + _REST, height_ratios=tall)
    _draw_settings(axes[0], material, shown, controls)
    if controls:
        _draw_controls(axes[1], material, shown[0], controls)
    _legend(figure, material, bool(controls))
    return figure


def control_scores(material: FigureData) -> Controls:
    """The study's metric of each simple predictor, by name and split."""
    predictors = material.study.manifest.get("controls", {}).get("predictors", [])
    metric, found = without_split(material.study.metric), material.study.evaluations
    scores: Controls = {}
    for one in predictors:
        name, value = one["name"], one["validation"].get(metric)
        if value is None:
            continue
        scores[name] = {"val": ControlScore(value, math.nan, math.nan)}
        of_control = found[(found["trial"] == f"control:{name}") & (found["metric"] == metric)]
        for _, row in of_control.iterrows():
            if row["split"] in material.splits:
                scores[name][row["split"]] = ControlScore(row["value"], row["low"], row["high"])
    return scores


def half_widths(shown: Sequence[Configuration], split: str) -> dict[str, float]:
    """Of each mean's 95 % interval over seeds, by t from the spread of all configurations together.

    Three seeds alone tell next to nothing of their own spread.
    """
    table = pd.DataFrame(
        [
            {"config_id": one.trial, "score": value}
            for one in shown
            for value in one.scores[split].values()
        ],
        columns=["config_id", "score"],
    )
    try:
        noise = noise_floor(table)
    except StatisticsError:  # no two seeds of anything
        return {}
    quantile = t_quantile(noise.degrees_of_freedom)
    counts = table.groupby("config_id")["score"].count()
    return {str(trial): quantile * noise.sd / math.sqrt(n) for trial, n in counts.items()}


def _draw_settings(
    axes: Axes, material: FigureData, shown: Sequence[Configuration], controls: Controls
) -> None:
    held: list[float] = []  # by the axis
    noise = material.conclusions.noise if material.conclusions else None
    if noise is not None:
        ends = shown[0].mean("val") - noise.sd, shown[0].mean("val") + noise.sd
        axes.axvspan(*ends, color=_BAND, linewidth=0, zorder=0.5).set_gid("noise-floor")
        held += ends
    for split, below in _PLACES.items():
        widths = half_widths(material.settings, split)
        for place, one in enumerate(shown):
            held += _draw_seeds(axes, one, split, place + below, widths.get(one.trial))
    for place, one in enumerate(shown):
        text = truncate(f"{one.trial}: {one.label}", _CHARACTERS)
        write_row(axes, text, place - 0.27)
    low, high = limits(held, material.study.metric)
    for scores in controls.values():
        if low < scores["val"].value < high:
            _line(axes, scores["val"].value)
    axes.set(xlim=(low, high), ylim=(len(shown) - 0.5, -0.5))
    rest = len(material.settings) - len(shown)
    which = f"the best {len(shown)} of {len(material.settings)}, " if rest else ""
    axes.set_title(f"Configurations, {which}a dot a seed")
    axes.set_yticks([])
    _finish(axes, material)


def _draw_seeds(
    axes: Axes, one: Configuration, split: str, height: float, half: float | None
) -> list[float]:
    """The seeds, their mean and its interval; all that the axis has to hold."""
    values = list(one.scores[split].values())
    if not values:
        return []
    color, mean = SPLIT_COLORS[split], one.mean(split)
    axes.scatter(
        values, np.full(len(values), height), s=11, facecolor="white", edgecolor=color,
        linewidths=0.8, marker=SPLIT_MARKERS[split], clip_on=False, zorder=3,
    ).set_gid(f"{split}-{one.trial}")  # fmt: skip
    ends = [] if half is None else [mean - half, mean + half]
    (line,) = axes.plot([*ends[:1], mean, *ends[1:]], [height] * (1 + len(ends)), color=color)
    line.set_gid(f"mean-{split}-{one.trial}")
    axes.plot([mean], [height], "|", color=color, markersize=7, markeredgewidth=1.6, zorder=4)
    return [*values, *ends]


def _draw_controls(
    axes: Axes, material: FigureData, best: Configuration, controls: Controls
) -> None:
    held = [value for scores in best.scores.values() for value in scores.values()]
    for split, below in _PLACES.items():
        if best.scores[split]:
            _draw_control(axes, split, below, best.mean(split), math.nan, math.nan, filled=True)
        for place, (name, scores) in enumerate(controls.items(), start=1):
            if split in scores:
                one = scores[split]
                _draw_control(axes, split, place + below, one.value, one.low, one.high)
                held += [one.value, one.low, one.high]
            if split == "val":
                _line(axes, scores["val"].value, name)
    labels = [f"{best.trial}, mean", *(name.replace("_", " ") for name in controls)]
    axes.set_yticks([k + 0.14 for k in range(len(labels))], labels)
    low, high = limits(held, material.study.metric)
    axes.set(xlim=(low, high), ylim=(len(labels) - 0.35, -0.35))
    axes.set_title("The best of them beside the controls")
    _finish(axes, material)
    axes.tick_params(axis="y", length=0)


def _draw_control(
    axes: Axes, split: str, height: float, value: float, low: float, high: float,
    *, filled: bool = False,
) -> None:  # fmt: skip
    color = SPLIT_COLORS[split]
    axes.plot([low, high], [height, height], color=color, linewidth=0.8)
    axes.plot(
        [value], [height], SPLIT_MARKERS[split], color=color, clip_on=False, zorder=3,
        markerfacecolor=color if filled else "white", markeredgewidth=0.8,
    )  # fmt: skip


def _line(axes: Axes, value: float, name: str | None = None) -> None:
    """A control's; named once a figure, since in an SVG the name is an id."""
    line = axes.axvline(value, color=GREY, linewidth=0.7, linestyle=(0, (4, 2)), zorder=0.8)
    line.set_gid(f"control:{name}" if name else None)


def _finish(axes: Axes, material: FigureData) -> None:
    axes.set_xlabel(short_name(material.study.metric))
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)


def _legend(figure: Figure, material: FigureData, with_controls: bool) -> None:
    splits = [s for s in _PLACES if any(one.scores[s] for one in material.settings)]
    entries: list[object] = [
        dot(
            SPLIT_COLORS[split], f"{SPLIT_NAMES[split]}, a seed", SPLIT_MARKERS[split],
            markerfacecolor="white",
        )
        for split in splits
    ]  # fmt: skip
    entries.append(key(DARK, "mean, 95 % interval over seeds", marker="|", markersize=6))
    noise = material.conclusions.noise if material.conclusions else None
    if noise is not None:
        entries.append(Patch(color=_BAND, label=f"noise floor (± SD, {noise.sd:.4f})"))
    if with_controls:
        entries.append(key(GREY, "a control, on validation", linestyle=(0, (4, 2))))
    figure.legend(handles=entries, loc="outside lower left", ncols=2)
