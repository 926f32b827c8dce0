"""Calibration of the winner: reliability curves and histograms of its probabilities."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.style import (
    GREY,
    SPLIT_COLORS,
    SPLIT_MARKERS,
    SPLIT_NAMES,
    key,
    new_figure,
    truncate,
)
from tune_bio.analysis.statistics.arrays import Floats, Integers
from tune_bio.analysis.statistics.intervals import expanded_percentiles
from tune_bio.analysis.statistics.resampling import bootstrap
from tune_bio.analysis.statistics.sample import Sample

RESAMPLES = 1000
BINS = 10
_MIN_IMAGES = 10  # per bin; with fewer images there are fewer bins


@dataclass(frozen=True)
class Reliability:
    """Mean predicted probability and observed share of events, with 95 % limits; (bins,) each."""

    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats


def applies_calibration(data: FigureData) -> bool:
    """Return True if the winner has predictions for images of every class."""
    return bool(data.samples)


def calibration(data: FigureData) -> Figure:
    """Plot the share of events against the probability, in bins of equal numbers of images."""
    figure, (top, bottom) = new_figure(2, 1, 3.9, sharex=True, height_ratios=[3, 1])
    top.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    entries = []
    for split, sample in data.samples.items():
        truth, predicted = events(sample)
        curve = reliability(truth, predicted, sample, data.study.seed)
        color = SPLIT_COLORS[split]
        _plot_reliability(top, curve, split, color)
        bottom.hist(
            predicted, bins=np.linspace(0, 1, 41).tolist(), histtype="step", color=color,
            weights=np.full(len(predicted), 100 / len(predicted)), linewidth=0.9,
        )  # fmt: skip
        entries.append(key(color, SPLIT_NAMES[split], marker=SPLIT_MARKERS[split]))
    binary = len(data.classes) == 2
    event = truncate(data.classes[data.study.positive], 24) if binary else "classified correctly"
    target = f"of {event}" if binary else "of the most likely class"
    top.set(ylabel=f"observed share of {event}", xlim=(0, 1), ylim=(0, 1))
    if not binary:
        top.set_ylabel("share of images classified correctly")
    top.set_title(f"Calibration of {data.winner}")
    bottom.set(xlabel=f"predicted probability {target}", ylabel="images (%)")
    entries.append(key(GREY, "perfect calibration", linestyle=":"))
    title = f"bins with equal numbers of images; 95 % intervals over {data.units}"
    figure.legend(handles=entries, loc="outside lower left", ncols=3, title=title, alignment="left")
    return figure


def events(sample: Sample) -> tuple[Integers, Floats]:
    """Return which images are events, (n,) of 0 and 1, and the predicted probabilities, (n,).

    With two classes the event is the positive class; with more, that the most likely class is true.
    """
    if sample.classes == 2:
        truth = sample.labels == sample.positive
        return truth.astype(np.int64), sample.probabilities[:, sample.positive]
    correct = sample.probabilities.argmax(axis=1) == sample.labels
    return correct.astype(np.int64), sample.probabilities.max(axis=1)


def reliability(truth: Integers, predicted: Floats, sample: Sample, seed: int) -> Reliability:
    """Compute a curve with bins between quantiles, and its limits by a bootstrap over patients."""
    count = max(2, min(BINS, len(truth) // _MIN_IMAGES))
    inner = np.unique(np.quantile(predicted, np.linspace(0, 1, count + 1)[1:-1]))
    members = np.eye(len(inner) + 1)[np.searchsorted(inner, predicted, side="left")]
    members = members[:, members.any(axis=0)]

    def shares(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore"):  # a bin may be empty in a resample
            observed: Floats = ((weights * truth) @ members) / (weights @ members)
        return observed

    unweighted = np.ones((1, len(truth)))
    resampled = bootstrap(
        {"shares": shares}, sample.codes, sample.patients,
        resamples=RESAMPLES, rng=np.random.default_rng(seed),
    )["shares"]  # fmt: skip
    limits = [expanded_percentiles(column, sample.patients) for column in resampled.T]
    low, high = np.array(limits).T
    return Reliability(
        (predicted @ members) / members.sum(axis=0), shares(unweighted)[0], low, high
    )


def _plot_reliability(axes: Axes, curve: Reliability, split: str, color: str) -> None:
    axes.vlines(curve.predicted, curve.low, curve.high, color=color, linewidth=0.8, alpha=0.7)
    (line,) = axes.plot(
        curve.predicted, curve.observed, marker=SPLIT_MARKERS[split], color=color, clip_on=False
    )
    line.set_gid(f"reliability-{split}")
