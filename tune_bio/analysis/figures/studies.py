"""Several studies on one scale: their trials, the seeds of their best configuration, its test."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tune_bio.analysis.figures.style import (
    BLUE,
    DARK,
    GREY,
    SPLIT_COLORS,
    SPLIT_MARKERS,
    dot,
    key,
    limits,
    new_figure,
    truncate,
    write_row,
)
from tune_bio.common.labels import short_name

_ROW, _REST = 0.34, 0.95  # inches
_CHARACTERS = 72
_TRIALS, _TEST = 0.05, 0.3  # heights within a row, below its label


@dataclass(frozen=True)
class StudyScores:
    """A study's scores in its metric.

    trials: validation, one per trial of the search.
    replicates: validation, one per replicate of the best configuration.
    test: of the median replicate: value, low and high (NaN without an interval); None if the test
        set is sealed.
    """

    name: str
    trials: npt.NDArray[np.float64]
    replicates: npt.NDArray[np.float64]
    test: tuple[float, float, float] | None


def plot_studies(studies: Sequence[StudyScores], metric: str) -> Figure:
    """Plot one row per study; all are ranked by `metric`."""
    figure, (axes,) = new_figure(1, 1, _ROW * len(studies) + _REST)
    for row, study in enumerate(studies):
        _plot_study(axes, study, row)
        write_row(axes, truncate(study.name, _CHARACTERS), row - 0.27)
    values = [value for study in studies for value in (*study.trials, *study.replicates)]
    values += [value for study in studies for value in study.test or ()]
    axes.set(xlim=limits(values, metric), ylim=(len(studies) - 0.5, -0.5))
    axes.set_title("Every trial of each study")
    axes.set_xlabel(short_name(metric))
    axes.set_yticks([])
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    _legend(figure, studies)
    return figure


def _plot_study(axes: Axes, study: StudyScores, row: int) -> None:
    for scores, color in ((study.trials, GREY), (study.replicates, BLUE)):
        axes.scatter(
            scores, np.full(len(scores), row + _TRIALS), s=11, facecolor="white", edgecolor=color,
            linewidths=0.8, clip_on=False, zorder=3,
        )  # fmt: skip
    center = study.replicates if len(study.replicates) else study.trials
    if len(center):
        axes.plot(
            [np.median(center)], [row + _TRIALS], "|", color=DARK, markersize=8, zorder=4,
            markeredgewidth=1.4,
        )  # fmt: skip
    if study.test is not None:
        value, low, high = study.test
        color = SPLIT_COLORS["test"]
        axes.plot([low, high], [row + _TEST] * 2, color=color, linewidth=0.8)
        axes.plot([value], [row + _TEST], SPLIT_MARKERS["test"], color=color, zorder=3)


def _legend(figure: Figure, studies: Sequence[StudyScores]) -> None:
    entries: list[object] = [dot(GREY, "trial, validation", markerfacecolor="white")]
    if any(len(study.replicates) for study in studies):
        entries.append(dot(BLUE, "replicate of the best, validation", markerfacecolor="white"))
    entries.append(key(DARK, "median", marker="|", markersize=6, linestyle=""))
    if any(study.test is not None for study in studies):
        color, marker = SPLIT_COLORS["test"], SPLIT_MARKERS["test"]
        entries.append(key(color, "test, 95 % interval", marker=marker))
    figure.legend(handles=entries, loc="outside lower left", ncols=2)
