"""What the winner calls the images of each class, on validation and, once opened, on test."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.style import SPLIT_NAMES, new_figure, truncate
from tune_bio.analysis.statistics.sample import Sample

_WRITTEN = 6  # classes whose cells have room for a count and a share
_NAMED = 30  # and whose names can be read
_CHARACTERS = 16


def applies_confusion(material: FigureData) -> bool:
    """Where the winner has predictions and, with two classes, an operating point."""
    decision_rule = len(material.classes) > 2 or material.threshold is not None
    return decision_rule and bool(material.samples)


def confusion_matrices(material: FigureData) -> Figure:
    """Counts, and shares of the true class, at the threshold that validation has fixed."""
    samples, classes = material.samples, len(material.classes)
    across = len(samples) if classes <= 3 else 1
    down = -(-len(samples) // across)
    panel = 1.75 if across == 2 else 2.6
    figure, panels = new_figure(down, across, panel * down + 0.2)
    for (split, sample), axes in zip(samples.items(), panels, strict=True):
        _draw(axes, decision_rule(sample, material.threshold), material.classes)
        axes.set_title(SPLIT_NAMES[split].capitalize())
    at = f", at the threshold {material.threshold:.3g}" if material.threshold is not None else ""
    figure.supxlabel(f"{material.winner}{at}: images, and share of the true class", fontsize=6)
    return figure


def decision_rule(sample: Sample, threshold: float | None) -> npt.NDArray[np.int64]:
    """Counts (classes, classes): true class by called class.

    With two classes an image is called positive at the threshold or above; with more, whatever is
    most likely.
    """
    from sklearn.metrics import confusion_matrix

    called = called_class(sample.probabilities, sample.positive, threshold)
    found: npt.NDArray[np.int64] = confusion_matrix(
        sample.labels, called, labels=range(sample.classes)
    )
    return found


def called_class(
    probabilities: npt.NDArray[np.float64], positive: int, threshold: float | None
) -> npt.NDArray[np.int64]:
    """The class that each image is called, (n,), from (n, classes)."""
    if threshold is None:
        most: npt.NDArray[np.int64] = probabilities.argmax(axis=1).astype(np.int64)
        return most
    return np.where(probabilities[:, positive] >= threshold, positive, 1 - positive)


def _draw(axes: Axes, counts: npt.NDArray[np.int64], classes: list[str]) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= _WRITTEN:
        for row, column in np.ndindex(*counts.shape):
            axes.text(
                column, row, f"{counts[row, column]}\n{100 * shares[row, column]:.0f} %",
                ha="center", va="center", color="white" if shares[row, column] > 0.5 else "black",
            )  # fmt: skip
    names = [truncate(name, _CHARACTERS) for name in classes]
    step = -(-len(classes) // _NAMED)
    tilted = len(classes) > 3 or max(map(len, names)) > 9
    axes.set_xticks(
        range(0, len(classes), step), names[::step], rotation=40 if tilted else 0,
        ha="right" if tilted else "center", rotation_mode="anchor",
    )  # fmt: skip
    axes.set_yticks(
        range(0, len(classes), step), names[::step], rotation=0 if tilted else 90,
        va="center", ha="right" if tilted else "center", rotation_mode="anchor" if tilted else None,
    )  # fmt: skip
    if not tilted:
        axes.tick_params(axis="y", pad=6)
    axes.set(xlabel="called", ylabel="true")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
