"""Learning curves: the search's trials, and what was confirmed with the band of its seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.style import (
    DARK,
    PALE,
    SERIES,
    key,
    limits,
    log_scaled,
    new_figure,
    truncate,
)
from tune_bio.common.labels import short_name

_LOG_FROM = 5  # ratio of the largest to the smallest loss
_CHARACTERS = 62
_CUT_OFF = 0.02  # of the others' epochs, the worst


@dataclass(frozen=True)
class _Named:
    """A curve with a colour: the mean over trials that differ in their seed."""

    trial: str
    label: str
    trials: Sequence[str]
    color: str


def applies_learning_curves(material: FigureData) -> bool:
    """Where a trial has two epochs."""
    return len(material.study.epochs) > 0 and int(material.study.epochs["epoch"].max()) > 1


def learning_curves(material: FigureData) -> Figure:
    """The metric over epochs for every trial of the search, and the losses of the best ones."""
    study, named = material.study, _named(material)
    figure, (top, bottom) = new_figure(2, 1, 3.9 + 0.11 * len(named), sharex=True)
    searched = study.epochs[study.epochs["trial_id"].isin(study.trials["trial_id"])]
    coloured = {trial for one in named if len(one.trials) == 1 for trial in one.trials}
    for trial_id, curve in searched.groupby("trial_id", sort=False):
        if trial_id not in coloured:
            top.plot(curve["epoch"], curve[study.metric], color=PALE, linewidth=0.6)
    for one in reversed(named):
        curves = study.epochs[study.epochs["trial_id"].isin(one.trials)]
        _draw(top, curves, study.metric, one)
        _draw(bottom, curves, "val_loss", one)
        _draw(bottom, curves, "train_loss", one, linestyle="--", marker="")
    top.set(title="Validation metric", ylabel=f"validation {short_name(study.metric)}")
    top.set_ylim(*_limits(material, searched, named))
    bottom.set(title="Loss of those named", xlabel="epoch", ylabel="log loss")
    shown = [trial for one in named for trial in one.trials]
    losses = study.epochs[study.epochs["trial_id"].isin(shown)][["val_loss", "train_loss"]]
    if losses.max().max() > _LOG_FROM * losses.min().min():
        bottom.set_yscale("log")  # one early spike would press every curve flat
        log_scaled(bottom.yaxis, losses.to_numpy(), 8)
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure, material, named)
    return figure


def _named(material: FigureData) -> list[_Named]:
    """What was confirmed, under all its seeds; else the best trials of the search."""
    study = material.study
    found = [(one.trial, one.label, list(one.scores["val"])) for one in material.settings]
    if not found:
        best = [str(trial) for trial in study.ranking["trial_id"][: len(SERIES)]]
        found = [(trial, material.describe(trial), [trial]) for trial in best]
    return [_Named(*one, color) for one, color in zip(found, SERIES, strict=False)]


def _limits(
    material: FigureData, searched: pd.DataFrame, named: Sequence[_Named]
) -> tuple[float, float]:
    """All of the curves that are named; others may leave the axis, or one would press all flat."""
    study, trials = material.study, [trial for one in named for trial in one.trials]
    shown = study.epochs[study.epochs["trial_id"].isin(trials)][study.metric]
    values = searched[study.metric].replace([np.inf, -np.inf], np.nan)
    cut = values.quantile([0, 1 - _CUT_OFF] if study.ascending else [_CUT_OFF, 1])
    return limits([*shown, *cut], study.metric)


def _draw(
    axes: Axes, curves: pd.DataFrame, column: str, one: _Named, linestyle: str = "-",
    marker: str = "o",
) -> None:  # fmt: skip
    """The mean over seeds, and the band from the lowest to the highest."""
    by_epoch = curves.groupby("epoch")[column]
    mean = by_epoch.mean()
    (line,) = axes.plot(
        mean.index, mean, linestyle, marker=marker, color=one.color, markersize=2,
    )  # fmt: skip
    line.set_gid(f"{column}-{one.trial}")
    if len(one.trials) > 1 and marker:
        band = axes.fill_between(
            mean.index, by_epoch.min(), by_epoch.max(), color=one.color, alpha=0.2, linewidth=0,
        )  # fmt: skip
        band.set_gid(f"band-{column}-{one.trial}")


def _legend(figure: Figure, material: FigureData, named: Sequence[_Named]) -> None:
    entries = [
        key(one.color, truncate(f"{one.trial}: {one.label}", _CHARACTERS), marker="o", markersize=2)
        for one in named
    ]
    others = "trials of the search" if material.settings else "other trials"
    seeds = max((len(one.trials) for one in named), default=1)
    band = f"; band: from the lowest to the highest of {seeds} seeds" if seeds > 1 else ""
    entries += [
        key(PALE, others),
        key(DARK, f"validation{band}", marker="o", markersize=2),
        key(DARK, "training, running mean", linestyle="--"),
    ]
    figure.legend(handles=entries, loc="outside lower left")
