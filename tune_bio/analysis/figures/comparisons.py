"""Forest plot of differences between models and hyperparameter levels, with intervals."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.style import BLUE, GREY, TALLEST, new_figure, truncate, write_row
from tune_bio.common.labels import short_name

_ROW, _REST = 0.26, 0.75  # inches
_CHARACTERS = 62
_MOST = 28  # rows on a page


@dataclass(frozen=True)
class Difference:
    """A difference a - b with its 95 % limits and a `note` shown after its label."""

    label: str
    value: float
    low: float
    high: float
    note: str = ""


def applies_comparisons(data: FigureData) -> bool:
    """Return True if two models, or two levels of a hyperparameter, were compared."""
    return any(rows for _, rows in _sections(data))


def comparisons(data: FigureData) -> Figure:
    """Plot the winner against the other finalists, and the hyperparameter levels of a grid."""
    sections = []
    nonempty = [(title, rows) for title, rows in _sections(data) if rows]
    for title, rows in nonempty:
        shown = _largest(rows, _MOST // len(nonempty))
        selection = f"\nthe largest {len(shown)} of {len(rows)}" if len(shown) < len(rows) else ""
        sections.append((title + selection, shown))
    heights = [_ROW * len(rows) + 0.1 for _, rows in sections]
    height = min(sum(heights) + _REST * len(heights), TALLEST)
    figure, panels = new_figure(len(sections), 1, height, height_ratios=heights)
    for (title, rows), axes in zip(sections, panels, strict=True):
        _plot_forest(axes, rows)
        axes.set_title(title)
        axes.set_xlabel(f"difference in {short_name(data.study.metric)} with 95 % interval")
    return figure


def _sections(data: FigureData) -> Iterator[tuple[str, list[Difference]]]:
    conclusions = data.conclusions
    if conclusions is None:
        return
    yield (
        "Winner minus other finalists, test set",
        [
            Difference(
                f"{versus.winner} minus {versus.other}", versus.comparison.difference,
                versus.comparison.low, versus.comparison.high, f"p = {versus.p_value:.2g}",
            )
            for versus in conclusions.versus
        ],
    )  # fmt: skip
    yield (
        f"Hyperparameter levels, validation, {conclusions.effects_at}",
        [
            Difference(_levels(e.hyperparameter, d.a, d.b), d.difference, d.low, d.high)
            for e in conclusions.effects
            for d in e.differences
        ],
    )


def _levels(hyperparameter: str, a: str, b: str) -> str:
    """Return a row's label; long configurations are reduced to the parts that differ."""
    prefix = "" if hyperparameter == "configuration" else f"{hyperparameter}: "
    if len(prefix) + len(a) + len(b) > _CHARACTERS:
        parts_a, parts_b = a.split(", "), b.split(", ")
        a = ", ".join(part for part in parts_a if part not in parts_b) or a
        b = ", ".join(part for part in parts_b if part not in parts_a) or b
    room = (_CHARACTERS - len(prefix)) // 2
    return f"{prefix}{truncate(a, room)} minus {truncate(b, room)}"


def _largest(rows: Sequence[Difference], most: int) -> list[Difference]:
    """Return the `most` largest differences in their original order."""
    ranked = sorted(rows, key=lambda row: -abs(row.value))[:most]
    return [row for row in rows if row in ranked][:most]


def _plot_forest(axes: Axes, rows: Sequence[Difference]) -> None:
    axes.axvline(0, color=GREY, linewidth=0.8).set_gid("zero")
    for k, row in enumerate(rows):
        (line,) = axes.plot([row.low, row.high], [k, k], color=BLUE, linewidth=1.2)
        line.set_gid(f"interval-{k}")
        axes.plot([row.value], [k], "s", color=BLUE, markersize=3.5)
        label = ", ".join(filter(None, (truncate(row.label, _CHARACTERS + 6), row.note)))
        write_row(axes, label, k - 0.36)
    ends = [0.0, *(end for row in rows for end in (row.value, row.low, row.high))]
    ends = [end for end in ends if math.isfinite(end)]  # an interval may be missing
    margin = 0.05 * (max(ends) - min(ends)) or 0.01
    axes.set(
        xlim=(min(ends) - margin, max(ends) + margin), ylim=(len(rows) - 0.5, -0.75), yticks=[]
    )
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
