"""Figures, as PNG and SVG, from the records alone.

Colours are Okabe and Ito's, which people with a colour-vision deficiency can tell apart.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tune_bio.analysis.study_records import PARAMS, StudyRecords
from tune_bio.files import replacing
from tune_bio.records import LEAKAGE

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9",
)  # fmt: skip
STATUS_COLORS = {
    "completed": BLUE,
    "stopped_early": ORANGE,
    "diverged": PURPLE,
    "failed": RED,
    "interrupted": "#999999",
    "running": GREEN,
}
MARKED = "#a04000"
NAMED_CURVES = 5
LOG_FROM = 5  # ratio of the largest to the smallest loss
LOG_SCALED = ("lr", "weight_decay")
STYLE: dict[Any, Any] = {
    "figure.dpi": 160,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "svg.fonttype": "none",  # text stays text, so that a journal can restyle it
    "svg.hashsalt": "tune_bio",  # the same records give the same bytes
}


def draw_all(study: StudyRecords, folder: Path) -> list[Path]:
    """Draw every figure of a study into `folder`; returns the PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    with mpl.rc_context(STYLE):
        for name, draw in FIGURES.items():
            figure = draw(study)
            _mark(figure, study)
            drawn.append(_save(figure, folder, name))
    return drawn


def learning_curves(study: StudyRecords) -> Figure:
    """The metric over epochs for every trial of the search, and the losses of the best ones."""
    figure, (left, right) = _figure(1, 2, width=9.5, height=3.8)
    best = list(study.ranking["trial_id"][:NAMED_CURVES])
    colors = dict(zip(best, (BLUE, ORANGE, GREEN, PURPLE, SKY), strict=False))
    searched = study.epochs[study.epochs["trial_id"].isin(study.trials["trial_id"])]
    for trial_id, curve in searched.groupby("trial_id", sort=False):
        if trial_id not in colors:
            left.plot(curve["epoch"], curve[study.metric], color="#c8c8c8", linewidth=0.8)
    for trial_id in reversed(best):
        curve = study.epochs[study.epochs["trial_id"] == trial_id]
        label = f"{trial_id} {_model_of(study, trial_id)}"
        color = colors[trial_id]
        left.plot(curve["epoch"], curve[study.metric], "o-", color=color, markersize=3, label=label)
        right.plot(curve["epoch"], curve["val_loss"], "o-", color=color, markersize=3)
        right.plot(curve["epoch"], curve["train_loss"], "--", color=color, linewidth=1)
    left.set(title="Validation metric", xlabel="epoch", ylabel=_label(study.metric))
    right.set(title="Loss of the best trials", xlabel="epoch", ylabel="negative log-likelihood")
    shown = study.epochs[study.epochs["trial_id"].isin(best)][["val_loss", "train_loss"]]
    if shown.max().max() > LOG_FROM * shown.min().min():
        right.set_yscale("log")  # one early spike would press every curve flat
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = left.get_legend_handles_labels()
    others = Line2D([], [], color="#c8c8c8", linewidth=0.8)
    left.legend([*handles[::-1], others], [*labels[::-1], "other trials"], fontsize=7)
    dashed = [
        Line2D([], [], color="black", marker="o", markersize=3),
        Line2D([], [], color="black", linestyle="--", linewidth=1),
    ]
    right.legend(dashed, ["validation", "training (running mean)"], fontsize=7)
    return figure


def hyperparameters(study: StudyRecords) -> Figure:
    """The metric at each trial's best epoch against each hyperparameter that varied."""
    names = study.searched or ["model"]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure, grid = _figure(rows, columns, width=2.9 * columns, height=2.6 * rows + 0.4)
    flat = list(np.ravel(np.array(grid)))
    for name, axes in zip(names, flat, strict=False):
        _against(study, name, axes)
    for axes in flat[len(names) :]:
        axes.set_axis_off()
    for axes in flat[::columns]:
        axes.set_ylabel(_label(study.metric))
    statuses = [s for s in STATUS_COLORS if s in set(study.ranking["status"])]
    handles = [
        Line2D([], [], marker="o", linestyle="", color=STATUS_COLORS[status], alpha=0.8)
        for status in statuses
    ]
    figure.legend(
        handles, [s.replace("_", " ") for s in statuses], loc="outside lower center",
        ncols=len(statuses), frameon=False,
    )  # fmt: skip
    return figure


def trials_over_time(study: StudyRecords) -> Figure:
    """When each trial ran and how it ended, and the best value so far."""
    times = study.manifest["timeline"]
    figure, (top, bottom) = _figure(
        2, 1, width=8, height=2.2 + 0.16 * len(study.trials), sharex=True,
        height_ratios=[max(1.0, len(study.trials) / 10), 1],
    )  # fmt: skip
    for place, (_, trial) in enumerate(study.trials.iterrows()):
        start, end = times[trial["trial_id"]]
        color = STATUS_COLORS[trial["status"]]
        # The edge keeps a trial on cached features, which takes no time at all, in sight.
        top.barh(place, end - start, left=start, height=0.7, color=color, edgecolor=color)
    top.set_yticks(range(len(study.trials)), list(study.trials["trial_id"]), fontsize=6)
    top.invert_yaxis()
    top.grid(axis="y", visible=False)
    statuses = [s for s in STATUS_COLORS if s in set(study.trials["status"])]
    handles = [Line2D([], [], color=STATUS_COLORS[s], linewidth=5) for s in statuses]
    labels = [f"{s.replace('_', ' ')} ({(study.trials['status'] == s).sum()})" for s in statuses]
    top.legend(handles, labels, fontsize=7, loc="best")
    top.set_title("Trials over time")
    top.set_xlim(left=0)
    ended = study.trials.assign(end=[times[t][1] for t in study.trials["trial_id"]])
    ended = ended.dropna(subset=["score"]).sort_values("end")
    best = ended["score"].cummin() if study.ascending else ended["score"].cummax()
    bottom.plot(ended["end"], ended["score"], "o", color="#c8c8c8", markersize=3)
    bottom.step(ended["end"], best, where="post", color=BLUE)
    bottom.set(
        title="Best so far", xlabel="seconds since the study began", ylabel=_label(study.metric)
    )
    return figure


FIGURES: dict[str, Callable[[StudyRecords], Figure]] = {
    "learning_curves": learning_curves,
    "hyperparameters": hyperparameters,
    "trials_over_time": trials_over_time,
}


def _against(study: StudyRecords, name: str, axes: Axes) -> None:
    scored = study.ranking.dropna(subset=[PARAMS + name])
    values = scored[PARAMS + name]
    colors = [STATUS_COLORS[status] for status in scored["status"]]
    axes.set_title(name)
    few = values.nunique() <= 4
    if pd.api.types.is_numeric_dtype(values) and not few:
        axes.scatter(values, scored["score"], c=colors, s=18, alpha=0.8, linewidths=0)
        if name in LOG_SCALED and (values > 0).all():
            axes.set_xscale("log")
        return
    order = sorted(values.unique())
    # A fixed pattern spreads equal values apart; a random one would differ from run to run.
    spread = (np.arange(len(values)) * 0.618 % 1 - 0.5) * 0.4
    places = np.array([order.index(value) for value in values], dtype=float)
    axes.scatter(places + spread, scored["score"], c=colors, s=18, alpha=0.8, linewidths=0)
    for place, value in enumerate(order):
        median = scored["score"][values == value].median()
        axes.hlines(median, place - 0.3, place + 0.3, color="black", linewidth=1.2)
    labels = [f"{value:g}" if isinstance(value, float) else _short(value) for value in order]
    axes.set_xticks(range(len(order)), labels)
    if max(map(len, labels)) > 8:
        axes.set_xticks(range(len(order)), labels, rotation=20, ha="right")
    axes.set_xlim(-0.6, len(order) - 0.4)
    axes.grid(axis="x", visible=False)


def _figure(
    rows: int, columns: int, width: float, height: float, **options: Any
) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(np.ravel(axes))


def _mark(figure: Figure, study: StudyRecords) -> None:
    """Say on the figure what must not be overlooked: synthetic data, a leak that was allowed."""
    data = study.manifest["data"]
    marks = ["synthetic data"] if data["synthetic"] else []
    if any(note.startswith(LEAKAGE) for note in data["notes"]):
        marks.append("leakage between splits")
    if marks:
        figure.suptitle(" · ".join(marks), x=0.01, ha="left", fontsize=7, color=MARKED)


def _save(figure: Figure, folder: Path, name: str) -> Path:
    # Laid out once for both files; Matplotlib would do it anew, and draw everything twice, in each.
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    for suffix in (".svg", ".png"):
        with replacing(folder / f"{name}{suffix}") as temporary:
            # No date inside: the same records give the same bytes.
            metadata = {"Date": None} if suffix == ".svg" else {"Software": None}
            figure.savefig(temporary, format=suffix[1:], dpi="figure", metadata=metadata)
    return folder / f"{name}.png"


def _model_of(study: StudyRecords, trial_id: str) -> str:
    row = study.trials.set_index("trial_id").loc[trial_id]
    parts = [row["params.model"], row["params.weights"], row["params.freeze"]]
    return " ".join(_short(part) for part in parts if part != "none")


def _short(value: object) -> str:
    return str(value).removeprefix("timm:")


def _label(metric: str) -> str:
    name = metric.removeprefix("val_").replace("_", " ")
    return f"validation {name.upper() if name == 'auroc' else name}"
