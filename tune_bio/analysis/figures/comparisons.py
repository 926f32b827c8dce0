"""Differences with their intervals, below each other: a forest plot."""

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
    """a less b, with its 95 % limits; `told` stands beside it."""

    label: str
    value: float
    low: float
    high: float
    told: str = ""


def applies_comparisons(material: FigureData) -> bool:
    """Where two models were compared, or two levels of a hyperparameter."""
    return any(rows for _, rows in _sections(material))


def comparisons(material: FigureData) -> Figure:
    """The winner against the other finalists, and the levels of each hyperparameter of a grid."""
    sections = []
    found = [(title, rows) for title, rows in _sections(material) if rows]
    for title, rows in found:
        shown = _largest(rows, _MOST // len(found))
        few = f"\nthe largest {len(shown)} of {len(rows)}" if len(shown) < len(rows) else ""
        sections.append((title + few, shown))
    tall = [_ROW * len(rows) + 0.1 for _, rows in sections]
    height = min(sum(tall) + _REST * len(tall), TALLEST)
    figure, panels = new_figure(len(sections), 1, height, height_ratios=tall)
    for (title, rows), axes in zip(sections, panels, strict=True):
        _draw(axes, rows)
        axes.set_title(title)
        axes.set_xlabel(f"difference in {short_name(material.study.metric)}, 95 % interval")
    return figure


def _sections(material: FigureData) -> Iterator[tuple[str, list[Difference]]]:
    found = material.conclusions
    if found is None:
        return
    yield (
        "Winner less another finalist, on the test set",
        [
            Difference(
                f"{one.winner} less {one.other}", one.comparison.difference, one.comparison.low,
                one.comparison.high, f"p = {one.p_value:.2g}",
            )
            for one in found.versus
        ],
    )  # fmt: skip
    yield (
        f"Levels of the hyperparameters, validation, {found.effects_at}",
        [
            Difference(_levels(e.hyperparameter, d.a, d.b), d.difference, d.low, d.high)
            for e in found.effects
            for d in e.differences
        ],
    )


def _levels(hyperparameter: str, a: str, b: str) -> str:
    """Two levels; of whole configurations, if they are long, what tells them apart."""
    what = "" if hyperparameter == "configuration" else f"{hyperparameter}: "
    if len(what) + len(a) + len(b) > _CHARACTERS:
        of_a, of_b = a.split(", "), b.split(", ")
        a = ", ".join(part for part in of_a if part not in of_b) or a
        b = ", ".join(part for part in of_b if part not in of_a) or b
    room = (_CHARACTERS - len(what)) // 2
    return f"{what}{truncate(a, room)} less {truncate(b, room)}"


def _largest(rows: Sequence[Difference], most: int) -> list[Difference]:
    """Those of the largest differences that have room, in their order."""
    ranked = sorted(rows, key=lambda one: -abs(one.value))[:most]
    return [one for one in rows if one in ranked][:most]


def _draw(axes: Axes, rows: Sequence[Difference]) -> None:
    axes.axvline(0, color=GREY, linewidth=0.8).set_gid("zero")
    for place, one in enumerate(rows):
        (line,) = axes.plot([one.low, one.high], [place, place], color=BLUE, linewidth=1.2)
        line.set_gid(f"interval-{place}")
        axes.plot([one.value], [place], "s", color=BLUE, markersize=3.5)
        told = ", ".join(filter(None, (truncate(one.label, _CHARACTERS + 6), one.told)))
        write_row(axes, told, place - 0.36)
    ends = [0.0, *(end for one in rows for end in (one.value, one.low, one.high))]
    ends = [end for end in ends if math.isfinite(end)]  # there may be no interval
    room = 0.05 * (max(ends) - min(ends)) or 0.01
    axes.set(xlim=(min(ends) - room, max(ends) + room), ylim=(len(rows) - 0.5, -0.75), yticks=[])
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
