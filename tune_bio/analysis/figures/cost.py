"""Score against cost: the metric by training time and multiply-adds, with the Pareto front."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, StrMethodFormatter

from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.style import (
    DARK,
    SMALL,
    STATUS_COLORS,
    dot,
    key,
    limits,
    log_scaled,
    new_figure,
)
from tune_bio.common.labels import short_name

COSTS = {
    "seconds": "training time (s)",
    "multiply_adds": "multiply-adds per image (k: thousand, M: million, G: billion)",
}
_LOG_FROM = 5  # ratio of the highest to the lowest cost above which the axis is logarithmic
_MIN_RATIO = 1.05  # of the highest to the lowest cost; below it, all costs count as equal
_LABEL_SIZE = (0.12, 0.1)  # width and height of a trial's label, as fractions of the axes


def applies_cost(data: FigureData) -> bool:
    """Return True if there are at least three trials and their costs differ."""
    return len(data.study.ranking) > 2 and bool(_varied_costs(data))


def cost_and_quality(data: FigureData) -> Figure:
    """Plot one dot per trial of the search, and the Pareto front."""
    study, columns = data.study, _varied_costs(data)
    figure, panels = new_figure(len(columns), 1, 1.75 * len(columns) + 0.45, sharey=True)
    for column, axes in zip(columns, panels, strict=True):
        table = study.ranking.dropna(subset=[column])
        _plot_cost(axes, table, column, study.metric, ascending=study.ascending)
        axes.set(xlabel=COSTS[column], ylabel=f"validation {short_name(study.metric)}")
    panels[0].set_title("Score against cost, one dot per trial")
    statuses = [s for s in STATUS_COLORS if s in set(study.ranking["status"])]
    entries = [dot(STATUS_COLORS[s], s.replace("_", " ")) for s in statuses]
    entries.append(key(DARK, "Pareto front: no trial is cheaper and better", linewidth=0.8))
    figure.legend(handles=entries, loc="outside lower left", ncols=2)
    return figure


def pareto_front(
    costs: npt.NDArray[np.float64], scores: npt.NDArray[np.float64], *, ascending: bool
) -> npt.NDArray[np.intp]:
    """Return the positions of the Pareto-optimal trials, in order of cost.

    A trial is Pareto-optimal if no other is better at the same or a lower cost, or cheaper with
    the same or a better score.

    Args:
        costs: (n,).
        scores: (n,).
        ascending: True if a smaller score is better.
    """
    signed = scores if ascending else -scores
    order = np.lexsort((signed, costs))
    best = np.minimum.accumulate(signed[order])
    improves = np.r_[True, best[1:] < best[:-1]]
    return order[improves]


def _varied_costs(data: FigureData) -> list[str]:
    ranking = data.study.ranking
    return [c for c in COSTS if ranking[c].max() > _MIN_RATIO * ranking[c].min()]


def _plot_cost(
    axes: Axes, table: pd.DataFrame, column: str, metric: str, *, ascending: bool
) -> None:
    costs = table[column].to_numpy(np.float64)
    scores = table["score"].to_numpy(np.float64)
    colors = [STATUS_COLORS[status] for status in table["status"]]
    axes.scatter(costs, scores, c=colors, s=11, linewidths=0, clip_on=False, zorder=3).set_gid(
        column
    )
    # Large costs have a prefix (2M, not 2e6); small ones do not, or 0.005 s would be written 5m.
    large = costs.max() >= 1e4
    formatter = EngFormatter(sep="") if large else StrMethodFormatter("{x:g}")
    axes.xaxis.set_major_formatter(formatter)
    if costs.min() > 0 and costs.max() > _LOG_FROM * costs.min():
        axes.set_xscale("log")
        log_scaled(axes.xaxis, costs, 7, formatter)
    front = pareto_front(costs, scores, ascending=ascending)
    axes.step(costs[front], scores[front], where="post", color=DARK, linewidth=0.8, zorder=2)
    axes.get_lines()[-1].set_gid(f"front-{column}")
    axes.set_ylim(*limits(scores, metric))
    _label_front(axes, table["trial_id"].to_numpy()[front], costs[front], scores[front], ascending)


def _label_front(
    axes: Axes,
    trials: npt.NDArray[np.object_],
    costs: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float64],
    ascending: bool,
) -> None:
    """Label the trials on the Pareto front, the best first, where labels do not overlap.

    The labels are on the side of the front on which, by definition, there is no trial.
    """
    positions = axes.transAxes.inverted().transform(
        axes.transData.transform(np.column_stack([costs, scores]))
    )
    labelled: list[npt.NDArray[np.float64]] = []
    for k in range(len(trials) - 1, -1, -1):
        if any((np.abs(positions[k] - other) < _LABEL_SIZE).all() for other in labelled):
            continue
        labelled.append(positions[k])
        left = bool(positions[k, 0] < _LABEL_SIZE[0])
        axes.annotate(
            str(trials[k]), (costs[k], scores[k]),
            xytext=(3 if left else -2, -2 if ascending else 2),
            textcoords="offset points", fontsize=SMALL, color=DARK,
            va="top" if ascending else "bottom", ha="left" if left else "right",
        )  # fmt: skip
