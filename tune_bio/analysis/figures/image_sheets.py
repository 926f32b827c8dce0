"""Sheets of images: the network's inputs, and the winner's most confident errors.

The functions take arrays; their callers read the images.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tune_bio.analysis.figures.confusion import predicted_class
from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.style import DARK, SMALL, SPLIT_NAMES, WIDTH, new_canvas, truncate

DisplayImage = npt.NDArray[np.float32]  # (S, S, 1) grey or (S, S, 3), from 0 (black) to 1 (white)

IMAGES_PER_SPLIT = {1: 6, 2: 3, 3: 3}  # of each class, by the number of splits shown
MOST_CLASSES = 12
MOST_WRONG = 6  # images per split
_COLUMNS = 3
_TOP, _EDGE, _GAP, _BETWEEN = 0.2, 0.06, 0.03, 0.12  # inches; _TOP is left for warnings
_LINE = 0.115
_CHARACTERS, _FULL_WIDTH = 23, 70  # characters on a line below an image, across the figure


@dataclass(frozen=True)
class WrongImage:
    """A misclassified image, with the probability of its predicted class."""

    name: str
    patient: str
    true: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class WrongImages:
    """A split's most confident errors, the most confident first.

    `wrong` of the split's `images` are misclassified.
    """

    shown: tuple[WrongImage, ...]
    wrong: int
    images: int


def plot_inputs(
    images: Mapping[str, Mapping[str, Sequence[DisplayImage]]], splits: Sequence[str], caption: str
) -> Figure:
    """Plot one row of images per class, the splits side by side.

    Args:
        images: by class, then by split; at most `IMAGES_PER_SPLIT` of each are shown.
        splits: the splits to show, in this order.
        caption: how the images were transformed.
    """
    per_split, shown = IMAGES_PER_SPLIT[len(splits)], list(images)[:MOST_CLASSES]
    between = _BETWEEN * (len(splits) - 1)
    side = (WIDTH - 2 * _EDGE - between) / (per_split * len(splits)) - _GAP
    row_height = side + _LINE + 0.08
    notes = textwrap.wrap(caption, _FULL_WIDTH)
    if len(images) > len(shown):
        notes.append(f"{len(shown)} of {len(images)} classes shown")
    header = _TOP + (len(notes) + 0.5) * _LINE
    figure, axes = new_canvas(header + _LINE + row_height * len(shown))
    for k, text in enumerate(notes):
        _write(axes, _EDGE, _TOP + k * _LINE, text)
    for k, split in enumerate(splits):
        left = _EDGE + k * (per_split * (side + _GAP) + _BETWEEN)
        _write(axes, left, header, SPLIT_NAMES[split].capitalize(), bold=True)
        for row, name in enumerate(shown):
            top = header + _LINE + row * row_height
            if k == 0:
                _write(axes, left, top + 0.02, truncate(f"class {name}", _FULL_WIDTH))
            for column, image in enumerate(images[name].get(split, ())[:per_split]):
                _plot_image(axes, image, left + column * (side + _GAP), top + _LINE + 0.03, side)
    return figure


def most_wrong(data: FigureData, split: str, most: int = MOST_WRONG) -> WrongImages:
    """Return the winner's most confident errors: lowest probability of the true class first.

    At most one image per patient is returned, since images of a patient look alike.
    """
    rows = data.rows(data.winner, split)
    if rows.empty:
        return WrongImages((), 0, 0)
    probabilities, labels = data.probabilities(rows), rows["label"].to_numpy()
    predicted = predicted_class(probabilities, data.study.positive, data.threshold)
    of_true_class = probabilities[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(of_true_class[wrong], kind="stable")]
    _, first = np.unique(rows["patient"].to_numpy(str)[surest], return_index=True)
    selected = surest[np.sort(first)][:most]
    names, classes = rows[["image", "patient"]].to_numpy(), data.classes
    shown = tuple(
        WrongImage(
            str(names[k, 0]), str(names[k, 1]), classes[labels[k]], classes[predicted[k]],
            float(probabilities[k, predicted[k]]),
        )
        for k in selected
    )  # fmt: skip
    return WrongImages(shown, len(wrong), len(labels))


def plot_most_wrong(
    errors: Mapping[str, WrongImages], images: Mapping[str, DisplayImage]
) -> Figure:
    """Plot a sheet of the most confident errors, one section per split.

    Args:
        errors: by split; splits without errors are left out.
        images: the images to show, by name.
    """
    errors = {split: section for split, section in errors.items() if section.shown}
    side = (WIDTH - 2 * _EDGE) / _COLUMNS - 2 * _GAP
    cell = side + 5 * _LINE
    heights = [-(-len(s.shown) // _COLUMNS) * cell + 2 * _LINE for s in errors.values()]
    figure, axes = new_canvas(_TOP + sum(heights))
    top = _TOP
    for (split, section), height in zip(errors.items(), heights, strict=True):
        title = (
            f"{SPLIT_NAMES[split].capitalize()}: {section.wrong} of {section.images} misclassified"
        )
        _write(axes, _EDGE, top + 0.03, f"{title}; surest first, one per patient", bold=True)
        for k, image in enumerate(section.shown):
            row, column = divmod(k, _COLUMNS)
            left = _EDGE + column * (side + 2 * _GAP)
            image_top = top + 1.5 * _LINE + row * cell
            _plot_image(axes, images[image.name], left, image_top, side)
            for line, text in enumerate(_caption(image)):
                _write(axes, left, image_top + side + 0.03 + line * _LINE, text)
        top += height
    return figure


def _caption(image: WrongImage) -> list[str]:
    """Return one line each for name, patient, true class, and predicted class with probability."""
    lines = [_truncate_start(image.name)]
    if image.patient != image.name:
        lines.append(_truncate_start(f"patient {image.patient}"))
    probability = f" {image.probability:.2f}"
    return [
        *lines,
        truncate(f"true: {image.true}", _CHARACTERS),
        truncate(f"pred.: {image.predicted}", _CHARACTERS - len(probability)) + probability,
    ]


def _truncate_start(name: str) -> str:
    """Shorten a long path to its end, which names the file."""
    return name if len(name) <= _CHARACTERS else f"...{name[3 - _CHARACTERS :]}"


def _plot_image(axes: Axes, image: DisplayImage, left: float, top: float, side: float) -> None:
    extent = (left, left + side, top + side, top)
    pixels = np.clip(image, 0, 1)
    grey = pixels.ndim == 2 or pixels.shape[2] == 1
    axes.imshow(
        pixels.reshape(pixels.shape[:2]) if grey else pixels, cmap="gray", vmin=0, vmax=1,
        extent=extent, aspect="auto",
    )  # fmt: skip


def _write(axes: Axes, left: float, top: float, text: str, *, bold: bool = False) -> None:
    axes.text(
        left, top, text, fontsize=SMALL, va="top", color=DARK,
        fontweight="bold" if bold else "normal",
    )  # fmt: skip
