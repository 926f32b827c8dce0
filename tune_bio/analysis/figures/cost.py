"""What quality costs: the metric against training time and multiply-adds, with the Pareto front."""

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
    "seconds": "seconds of training",
    "multiply_adds": "multiply-adds of one image (k: thousand, M: million, G: billion)",
}
_LOG_FROM = 5  # the dearest trial to the cheapest
_APART = 1.05  # or they cost the same
_ROOM = (0.12, 0.1)  # that a name takes, of the axes


def applies_cost(material: FigureData) -> bool:
    """Where three trials differ in what they cost."""
    return len(material.study.ranking) > 2 and bool(_varied(material))


def cost_and_quality(material: FigureData) -> Figure:
    """A dot a trial of the search, the front of those that none is cheaper and better than."""
    study, columns = material.study, _varied(material)
    figure, panels = new_figure(len(columns), 1, 1.75 * len(columns) + 0.45, sharey=True)
    for column, axes in zip(columns, panels, strict=True):
        table = study.ranking.dropna(subset=[column])
        _draw(axes, table, column, study.metric, ascending=study.ascending)
        axes.set(xlabel=COSTS[column], ylabel=f"validation {short_name(study.metric)}")
    panels[0].set_title("Quality against cost, trials of the search")
    statuses = [s for s in STATUS_COLORS if s in set(study.ranking["status"])]
    entries = [dot(STATUS_COLORS[s], s.replace("_", " ")) for s in statuses]
    entries.append(key(DARK, "Pareto front: none is cheaper and better", linewidth=0.8))
    figure.legend(handles=entries, loc="outside lower left", ncols=2)
    return figure


def pareto_front(
    costs: npt.NDArray[np.float64], scores: npt.NDArray[np.float64], *, ascending: bool
) -> npt.NDArray[np.intp]:
    """Positions of those that no other is as cheap and better, or as good and cheaper; by cost.

    Args:
        costs: (n,).
        scores: (n,).
        ascending: whether a smaller score is better.
    """
    signed = scores if ascending else -scores
    order = np.lexsort((signed, costs))
    best = np.minimum.accumulate(signed[order])
    better = np.r_[True, best[1:] < best[:-1]]
    return order[better]


def _varied(material: FigureData) -> list[str]:
    ranking = material.study.ranking
    return [c for c in COSTS if ranking[c].max() > _APART * ranking[c].min()]


def _draw(axes: Axes, table: pd.DataFrame, column: str, metric: str, *, ascending: bool) -> None:
    costs = table[column].to_numpy(np.float64)
    scores = table["score"].to_numpy(np.float64)
    colors = [STATUS_COLORS[status] for status in table["status"]]
    axes.scatter(costs, scores, c=colors, s=11, linewidths=0, clip_on=False, zorder=3).set_gid(
        column
    )
    # 2M, and not 2e6; but of seconds no thousandth is written with an m.
    many = costs.max() >= 1e4
    formatter = EngFormatter(sep="") if many else StrMethodFormatter("{x:g}")
    axes.xaxis.set_major_formatter(formatter)
    if costs.min() > 0 and costs.max() > _LOG_FROM * costs.min():
        axes.set_xscale("log")
        log_scaled(axes.xaxis, costs, 7, formatter)
    best = pareto_front(costs, scores, ascending=ascending)
    axes.step(costs[best], scores[best], where="post", color=DARK, linewidth=0.8, zorder=2)
    axes.get_lines()[-1].set_gid(f"front-{column}")
    axes.set_ylim(*limits(scores, metric))
    _name(axes, table["trial_id"].to_numpy()[best], costs[best], scores[best], ascending)


def _name(
    axes: Axes,
    trials: npt.NDArray[np.object_],
    costs: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float64],
    ascending: bool,
) -> None:
    """Names of the trials of a front, the best first, where there is room.

    They stand on the side on which, by what a front is, there is no trial.
    """
    seen = axes.transAxes.inverted().transform(
        axes.transData.transform(np.column_stack([costs, scores]))
    )
    named: list[npt.NDArray[np.float64]] = []
    for k in range(len(trials) - 1, -1, -1):
        if any((np.abs(seen[k] - other) < _ROOM).all() for other in named):
            continue
        named.append(seen[k])
        left = bool(seen[k, 0] < _ROOM[0])
        axes.annotate(
            str(trials[k]), (costs[k], scores[k]),
            xytext=(3 if left else -2, -2 if ascending else 2),
            textcoords="offset points", fontsize=SMALL, color=DARK,
            va="top" if ascending else "bottom", ha="left" if left else "right",
        )  # fmt: skip
