"""Parallel coordinates: what the best trials of a long search have in common."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.style import (
    BLUE,
    DARK,
    PALE,
    SMALL,
    new_figure,
    short_label,
    truncate,
)
from tune_bio.analysis.study_records import LOG_SCALED, PARAMS
from tune_bio.common.labels import short_name

FROM = 50  # trials; fewer show no pattern
_MOST = 8  # axes that stand beside each other
_CHARACTERS = 15
_LINE = 7.5  # points: every second axis is written on a line higher, or they would touch


def applies_parallel_coordinates(material: FigureData) -> bool:
    """Where there are many trials, and two hyperparameters."""
    return len(material.study.ranking) >= FROM and len(material.study.searched) > 1


def parallel_coordinates(material: FigureData) -> Figure:
    """A line a trial through its hyperparameters to its score; the best tenth in colour."""
    study = material.study
    ranking = study.ranking.iloc[::-1]  # the best are drawn last
    names = material.study.searched[:_MOST]
    placed = [_placed(ranking[PARAMS + name], name) for name in names]
    score = ranking["score"].to_numpy(np.float64)
    places = [each for each, _ in placed] + [_spread(score)]
    figure, (axes,) = new_figure(1, 1, 2.9)
    best = -(-len(ranking) // 10)
    for k in range(len(ranking)):
        named = k >= len(ranking) - best
        axes.plot(
            [each[k] for each in places], color=BLUE if named else PALE,
            linewidth=0.9 if named else 0.4, zorder=3 if named else 2,
        )  # fmt: skip
    ticks = [ticks for _, ticks in placed] + [_ends(score)]
    outer = {0: ("left", -10), len(ticks) - 1: ("right", 8)}  # inside the figure
    for column, of_axis in enumerate(ticks):
        side, shift = outer.get(column, ("center", 0))
        axes.axvline(column, color=DARK, linewidth=0.6, zorder=1)
        for height, text in of_axis:
            axes.annotate(
                truncate(text, _CHARACTERS), (column, height),
                xytext=(shift, 1 + _LINE * (column % 2)), textcoords="offset points",
                fontsize=SMALL, ha=side, va="bottom", zorder=5,
                bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.3},
            ).set_in_layout(False)  # fmt: skip
    labels = [truncate(name, 14) for name in names] + [short_name(study.metric)]
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right", rotation_mode="anchor")
    axes.set(xlim=(-0.6, len(labels) - 0.6), ylim=(-0.03, 1.14), yticks=[])
    axes.set_title(f"The best {best} of {len(ranking)} trials in blue")
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0)
    return figure


Ticks = list[tuple[float, str]]


def _placed(values: pd.Series, name: str) -> tuple[npt.NDArray[np.float64], Ticks]:
    """Heights from 0 to 1 (NaN where the parameter is inactive), and what is written at which."""
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > 1:
        numbers = values.to_numpy(np.float64)
        log = name in LOG_SCALED and bool((values.dropna() > 0).all())
        return _spread(np.log(numbers) if log else numbers), _ends(numbers)
    order = sorted(values.dropna().unique())
    heights = {value: k / max(1, len(order) - 1) for k, value in enumerate(order)}
    found = values.map(heights).to_numpy(np.float64)
    return found, [(height, short_label(value)) for value, height in heights.items()]


def _spread(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    return (numbers - low) / ((high - low) or 1.0)


def _ends(numbers: Sequence[float] | npt.NDArray[np.float64]) -> Ticks:
    return [
        (0.0, short_label(float(np.nanmin(numbers)))),
        (1.0, short_label(float(np.nanmax(numbers)))),
    ]
