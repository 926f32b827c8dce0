"""Learning curves of the search's trials, and of confirmed configurations with a band of seeds."""

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

_LOG_FROM = 5  # ratio of the largest to the smallest loss above which the axis is logarithmic
_CHARACTERS = 62
_CUT_OFF = 0.02  # share of the search's worst epochs that the axis may leave out


@dataclass(frozen=True)
class _Group:
    """Trials that differ only in their seed, shown as one coloured curve, their mean."""

    trial: str
    label: str
    trials: Sequence[str]
    color: str


def applies_learning_curves(data: FigureData) -> bool:
    """Return True if a trial has at least two epochs."""
    return len(data.study.epochs) > 0 and int(data.study.epochs["epoch"].max()) > 1


def learning_curves(data: FigureData) -> Figure:
    """Plot the metric of every trial of the search over epochs, and the losses of the best ones."""
    study, groups = data.study, _groups(data)
    figure, (top, bottom) = new_figure(2, 1, 3.9 + 0.11 * len(groups), sharex=True)
    searched = study.epochs[study.epochs["trial_id"].isin(study.trials["trial_id"])]
    coloured = {trial for group in groups if len(group.trials) == 1 for trial in group.trials}
    for trial_id, curve in searched.groupby("trial_id", sort=False):
        if trial_id not in coloured:
            top.plot(curve["epoch"], curve[study.metric], color=PALE, linewidth=0.6)
    for group in reversed(groups):
        curves = study.epochs[study.epochs["trial_id"].isin(group.trials)]
        _plot_group(top, curves, study.metric, group)
        _plot_group(bottom, curves, "val_loss", group)
        _plot_group(bottom, curves, "train_loss", group, linestyle="--", marker="")
    top.set(title="Validation metric", ylabel=f"validation {short_name(study.metric)}")
    top.set_ylim(*_limits(data, searched, groups))
    bottom.set(title="Loss of the coloured curves", xlabel="epoch", ylabel="log loss")
    shown = [trial for group in groups for trial in group.trials]
    losses = study.epochs[study.epochs["trial_id"].isin(shown)][["val_loss", "train_loss"]]
    if losses.max().max() > _LOG_FROM * losses.min().min():
        bottom.set_yscale("log")  # or one early spike would flatten every curve
        log_scaled(bottom.yaxis, losses.to_numpy(), 8)
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure, data, groups)
    return figure


def _groups(data: FigureData) -> list[_Group]:
    """Return the confirmed configurations with all their seeds, or else the best single trials."""
    study = data.study
    groups = [(c.trial, c.label, list(c.scores["val"])) for c in data.configurations]
    if not groups:
        best = [str(trial) for trial in study.ranking["trial_id"][: len(SERIES)]]
        groups = [(trial, data.describe(trial), [trial]) for trial in best]
    return [_Group(*fields, color) for fields, color in zip(groups, SERIES, strict=False)]


def _limits(
    data: FigureData, searched: pd.DataFrame, groups: Sequence[_Group]
) -> tuple[float, float]:
    """Return limits that include all coloured curves, but not the worst epochs of other trials.

    Otherwise a single bad trial would flatten all curves.
    """
    study, trials = data.study, [trial for group in groups for trial in group.trials]
    shown = study.epochs[study.epochs["trial_id"].isin(trials)][study.metric]
    values = searched[study.metric].replace([np.inf, -np.inf], np.nan)
    cut = values.quantile([0, 1 - _CUT_OFF] if study.ascending else [_CUT_OFF, 1])
    return limits([*shown, *cut], study.metric)


def _plot_group(
    axes: Axes, curves: pd.DataFrame, column: str, group: _Group, linestyle: str = "-",
    marker: str = "o",
) -> None:  # fmt: skip
    """Plot the mean over seeds, and the band from the lowest to the highest."""
    by_epoch = curves.groupby("epoch")[column]
    mean = by_epoch.mean()
    (line,) = axes.plot(
        mean.index, mean, linestyle, marker=marker, color=group.color, markersize=2,
    )  # fmt: skip
    line.set_gid(f"{column}-{group.trial}")
    if len(group.trials) > 1 and marker:
        band = axes.fill_between(
            mean.index, by_epoch.min(), by_epoch.max(), color=group.color, alpha=0.2, linewidth=0,
        )  # fmt: skip
        band.set_gid(f"band-{column}-{group.trial}")


def _legend(figure: Figure, data: FigureData, groups: Sequence[_Group]) -> None:
    entries = [
        key(
            group.color, truncate(f"{group.trial}: {group.label}", _CHARACTERS), marker="o",
            markersize=2,
        )
        for group in groups
    ]  # fmt: skip
    others = "trials of the search" if data.configurations else "other trials"
    seeds = max((len(group.trials) for group in groups), default=1)
    band = f"; band: lowest to highest of {seeds} seeds" if seeds > 1 else ""
    entries += [
        key(PALE, others),
        key(DARK, f"validation{band}", marker="o", markersize=2),
        key(DARK, "training (running mean)", linestyle="--"),
    ]
    figure.legend(handles=entries, loc="outside lower left")
