"""Confusion matrices of the winner on validation and, once it was opened, on the test set."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.style import SPLIT_NAMES, new_figure, truncate
from tune_bio.analysis.statistics.sample import Sample

_WRITTEN = 6  # most classes for which cells have room for a count and a share
_NAMED = 30  # most classes of which every name is written
_CHARACTERS = 16


def applies_confusion(data: FigureData) -> bool:
    """Return True if the winner has predictions and, with two classes, an operating point."""
    has_decision_rule = len(data.classes) > 2 or data.threshold is not None
    return has_decision_rule and bool(data.samples)


def confusion_matrices(data: FigureData) -> Figure:
    """Plot counts, and shares of the true class, at the threshold chosen on validation."""
    samples, classes = data.samples, len(data.classes)
    across = len(samples) if classes <= 3 else 1
    down = -(-len(samples) // across)
    panel = 1.75 if across == 2 else 2.6
    figure, panels = new_figure(down, across, panel * down + 0.2)
    for (split, sample), axes in zip(samples.items(), panels, strict=True):
        _plot_matrix(axes, confusion_counts(sample, data.threshold), data.classes)
        axes.set_title(SPLIT_NAMES[split].capitalize())
    rule = f" at threshold {data.threshold:.3g}" if data.threshold is not None else ""
    figure.supxlabel(f"{data.winner}{rule}: images and share of the true class", fontsize=6)
    return figure


def confusion_counts(sample: Sample, threshold: float | None) -> npt.NDArray[np.int64]:
    """Return counts (classes, classes): true class by predicted class.

    With two classes an image is predicted positive at the threshold or above; with more, the most
    likely class is predicted.
    """
    from sklearn.metrics import confusion_matrix

    predicted = predicted_class(sample.probabilities, sample.positive, threshold)
    counts: npt.NDArray[np.int64] = confusion_matrix(
        sample.labels, predicted, labels=range(sample.classes)
    )
    return counts


def predicted_class(
    probabilities: npt.NDArray[np.float64], positive: int, threshold: float | None
) -> npt.NDArray[np.int64]:
    """Return the predicted class of each image, (n,), from its probabilities, (n, classes).

    Without a threshold it is the most likely class.
    """
    if threshold is None:
        most_likely: npt.NDArray[np.int64] = probabilities.argmax(axis=1).astype(np.int64)
        return most_likely
    return np.where(probabilities[:, positive] >= threshold, positive, 1 - positive)


def _plot_matrix(axes: Axes, counts: npt.NDArray[np.int64], classes: list[str]) -> None:
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
    axes.set(xlabel="predicted", ylabel="true")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
