"""Sheets of images: inputs as a network sees them, and those that it is most surely wrong about.

They take arrays; who calls them knows where the images are.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tune_bio.analysis.figures.confusion import called_class
from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.style import DARK, SMALL, SPLIT_NAMES, WIDTH, new_canvas, truncate

Shown = npt.NDArray[np.float32]  # (S, S, 1) grey or (S, S, 3), from 0 (black) to 1 (white)

ACROSS = {1: 6, 2: 3, 3: 3}  # images of a class and split, by how many splits are shown
MOST_CLASSES = 12
MOST_WRONG = 6  # images a split
_COLUMNS = 3
_TOP, _EDGE, _GAP, _BETWEEN = 0.2, 0.06, 0.03, 0.12  # inches; what is said of all stands above
_LINE = 0.115
_CHARACTERS, _WHOLE = 23, 70  # on a line below an image, on a whole one


@dataclass(frozen=True)
class Wrong:
    """An image that a model is wrong about, with the probability of the class that it is called."""

    name: str
    patient: str
    true: str
    called: str
    share: float


@dataclass(frozen=True)
class WrongOnes:
    """Those that it is most sure about, the surest first, of `wrong` in `images`."""

    shown: tuple[Wrong, ...]
    wrong: int
    images: int


def plot_inputs(
    images: Mapping[str, Mapping[str, Sequence[Shown]]], splits: Sequence[str], caption: str
) -> Figure:
    """A line a class, the splits side by side.

    Args:
        images: by class, then by split, some of each; `ACROSS` says how many have room.
        splits: those to show, in their order.
        caption: what was done to the images.
    """
    each, shown = ACROSS[len(splits)], list(images)[:MOST_CLASSES]
    between = _BETWEEN * (len(splits) - 1)
    side = (WIDTH - 2 * _EDGE - between) / (each * len(splits)) - _GAP
    line = side + _LINE + 0.08
    told = textwrap.wrap(caption, _WHOLE)
    if len(images) > len(shown):
        told.append(f"{len(shown)} of {len(images)} classes")
    head = _TOP + (len(told) + 0.5) * _LINE
    figure, axes = new_canvas(head + _LINE + line * len(shown))
    for place, text in enumerate(told):
        _write(axes, _EDGE, _TOP + place * _LINE, text)
    for k, split in enumerate(splits):
        left = _EDGE + k * (each * (side + _GAP) + _BETWEEN)
        _write(axes, left, head, SPLIT_NAMES[split].capitalize(), bold=True)
        for row, name in enumerate(shown):
            top = head + _LINE + row * line
            if k == 0:
                _write(axes, left, top + 0.02, truncate(f"class {name}", _WHOLE))
            for column, image in enumerate(images[name].get(split, ())[:each]):
                _show(axes, image, left + column * (side + _GAP), top + _LINE + 0.03, side)
    return figure


def most_wrong(material: FigureData, split: str, most: int = MOST_WRONG) -> WrongOnes:
    """Where the winner is surest and wrong: the lowest probability of the true class first.

    One image a patient, since others of the same look much alike.
    """
    rows = material.rows(material.winner, split)
    if rows.empty:
        return WrongOnes((), 0, 0)
    probabilities, labels = material.probabilities(rows), rows["label"].to_numpy()
    called = called_class(probabilities, material.study.positive, material.threshold)
    of_truth = probabilities[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(called != labels)
    surest = wrong[np.argsort(of_truth[wrong], kind="stable")]
    _, once = np.unique(rows["patient"].to_numpy(str)[surest], return_index=True)
    first = surest[np.sort(once)][:most]
    names, classes = rows[["image", "patient"]].to_numpy(), material.classes
    shown = tuple(
        Wrong(
            str(names[k, 0]), str(names[k, 1]), classes[labels[k]], classes[called[k]],
            float(probabilities[k, called[k]]),
        )
        for k in first
    )  # fmt: skip
    return WrongOnes(shown, len(wrong), len(labels))


def plot_most_wrong(found: Mapping[str, WrongOnes], images: Mapping[str, Shown]) -> Figure:
    """A sheet of them, split by split.

    Args:
        found: by split; those with none are left out.
        images: by name.
    """
    found = {split: ones for split, ones in found.items() if ones.shown}
    side = (WIDTH - 2 * _EDGE) / _COLUMNS - 2 * _GAP
    cell = side + 5 * _LINE
    heights = [-(-len(ones.shown) // _COLUMNS) * cell + 2 * _LINE for ones in found.values()]
    figure, axes = new_canvas(_TOP + sum(heights))
    top = _TOP
    for (split, ones), height in zip(found.items(), heights, strict=True):
        title = f"{SPLIT_NAMES[split].capitalize()}: {ones.wrong} of {ones.images} images are wrong"
        _write(axes, _EDGE, top + 0.03, f"{title}; the surest, one a patient", bold=True)
        for k, one in enumerate(ones.shown):
            row, column = divmod(k, _COLUMNS)
            left = _EDGE + column * (side + 2 * _GAP)
            above = top + 1.5 * _LINE + row * cell
            _show(axes, images[one.name], left, above, side)
            for place, text in enumerate(_told(one)):
                _write(axes, left, above + side + 0.03 + place * _LINE, text)
        top += height
    return figure


def _told(one: Wrong) -> list[str]:
    """Name, patient, the true class and the one that it is called, a line each."""
    lines = [_end_of(one.name)]
    if one.patient != one.name:
        lines.append(_end_of(f"patient {one.patient}"))
    called = f" {one.share:.2f}"
    return [
        *lines,
        truncate(f"is {one.true}", _CHARACTERS),
        truncate(f"called {one.called}", _CHARACTERS - len(called)) + called,
    ]


def _end_of(name: str) -> str:
    """Of a long path its end, which names the file."""
    return name if len(name) <= _CHARACTERS else f"...{name[3 - _CHARACTERS :]}"


def _show(axes: Axes, image: Shown, left: float, top: float, side: float) -> None:
    extent = (left, left + side, top + side, top)
    shown = np.clip(image, 0, 1)
    grey = shown.ndim == 2 or shown.shape[2] == 1
    axes.imshow(
        shown.reshape(shown.shape[:2]) if grey else shown, cmap="gray", vmin=0, vmax=1,
        extent=extent, aspect="auto",
    )  # fmt: skip


def _write(axes: Axes, left: float, top: float, text: str, *, bold: bool = False) -> None:
    axes.text(
        left, top, text, fontsize=SMALL, va="top", color=DARK,
        fontweight="bold" if bold else "normal",
    )  # fmt: skip
