"""Parallel coordinates: what the best trials of a large search have in common."""

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

MIN_TRIALS = 50  # fewer show no pattern
_MOST = 8  # hyperparameters
_CHARACTERS = 15
_LINE = 7.5  # points; labels of every second axis are one line higher, so that they do not touch


def applies_parallel_coordinates(data: FigureData) -> bool:
    """Return True if there are many trials and at least two hyperparameters varied."""
    return len(data.study.ranking) >= MIN_TRIALS and len(data.study.searched) > 1


def parallel_coordinates(data: FigureData) -> Figure:
    """Plot one line per trial, from its hyperparameters to its score; the best tenth in colour."""
    study = data.study
    ranking = study.ranking.iloc[::-1]  # the best are plotted last, on top
    names = data.study.searched[:_MOST]
    scaled = [_scaled(ranking[PARAMS + name], name) for name in names]
    score = ranking["score"].to_numpy(np.float64)
    heights = [values for values, _ in scaled] + [_to_unit_range(score)]
    figure, (axes,) = new_figure(1, 1, 2.9)
    best = -(-len(ranking) // 10)
    for k in range(len(ranking)):
        highlighted = k >= len(ranking) - best
        axes.plot(
            [values[k] for values in heights], color=BLUE if highlighted else PALE,
            linewidth=0.9 if highlighted else 0.4, zorder=3 if highlighted else 2,
        )  # fmt: skip
    ticks = [ticks for _, ticks in scaled] + [_end_ticks(score)]
    outer = {0: ("left", -10), len(ticks) - 1: ("right", 8)}  # keeps their labels inside the figure
    for column, axis_ticks in enumerate(ticks):
        side, shift = outer.get(column, ("center", 0))
        axes.axvline(column, color=DARK, linewidth=0.6, zorder=1)
        for height, text in axis_ticks:
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


def _scaled(values: pd.Series, name: str) -> tuple[npt.NDArray[np.float64], Ticks]:
    """Return heights from 0 to 1 (NaN if the hyperparameter is inactive), and labels by height."""
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > 1:
        numbers = values.to_numpy(np.float64)
        log = name in LOG_SCALED and bool((values.dropna() > 0).all())
        return _to_unit_range(np.log(numbers) if log else numbers), _end_ticks(numbers)
    levels = sorted(values.dropna().unique())
    heights = {value: k / max(1, len(levels) - 1) for k, value in enumerate(levels)}
    scaled = values.map(heights).to_numpy(np.float64)
    return scaled, [(height, short_label(value)) for value, height in heights.items()]


def _to_unit_range(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    return (numbers - low) / ((high - low) or 1.0)


def _end_ticks(numbers: Sequence[float] | npt.NDArray[np.float64]) -> Ticks:
    return [
        (0.0, short_label(float(np.nanmin(numbers)))),
        (1.0, short_label(float(np.nanmax(numbers)))),
    ]
