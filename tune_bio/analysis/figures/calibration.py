"""Are the winner's probabilities what they claim? A reliability curve, with the probabilities."""

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
_LEAST = 10  # images in a bin, or there are fewer bins


@dataclass(frozen=True)
class Reliability:
    """A bin a row: mean probability, share of events with its 95 % limits; (bins,) each."""

    claimed: Floats
    found: Floats
    low: Floats
    high: Floats


def applies_calibration(material: FigureData) -> bool:
    """Where the winner has predictions of every class."""
    return bool(material.samples)


def calibration(material: FigureData) -> Figure:
    """The share of events against the probability, in bins of as many images each."""
    figure, (top, bottom) = new_figure(2, 1, 3.9, sharex=True, height_ratios=[3, 1])
    top.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    entries = []
    for split, sample in material.samples.items():
        truth, claimed = events(sample)
        found = reliability(truth, claimed, sample, material.study.seed)
        color = SPLIT_COLORS[split]
        _draw(top, found, split, color)
        bottom.hist(
            claimed, bins=np.linspace(0, 1, 41).tolist(), histtype="step", color=color,
            weights=np.full(len(claimed), 100 / len(claimed)), linewidth=0.9,
        )  # fmt: skip
        entries.append(key(color, SPLIT_NAMES[split], marker=SPLIT_MARKERS[split]))
    two = len(material.classes) == 2
    event = truncate(material.classes[material.study.positive], 24) if two else "called rightly"
    which = f"of {event}" if two else "of the class that is most likely"
    top.set(ylabel=f"share of images that are {event}", xlim=(0, 1), ylim=(0, 1))
    if not two:
        top.set_ylabel("share of images called rightly")
    top.set_title(f"Calibration of {material.winner}")
    bottom.set(xlabel=f"probability {which}", ylabel="images, %")
    entries.append(key(GREY, "perfect", linestyle=":"))
    told = f"bins of as many images each; 95 % intervals over {material.units}"
    figure.legend(handles=entries, loc="outside lower left", ncols=3, title=told, alignment="left")
    return figure


def events(sample: Sample) -> tuple[Integers, Floats]:
    """What is foretold, (n,) 0 or 1, and its probability: the positive class, or being right."""
    if sample.classes == 2:
        truth = sample.labels == sample.positive
        return truth.astype(np.int64), sample.probabilities[:, sample.positive]
    right = sample.probabilities.argmax(axis=1) == sample.labels
    return right.astype(np.int64), sample.probabilities.max(axis=1)


def reliability(truth: Integers, claimed: Floats, sample: Sample, seed: int) -> Reliability:
    """Bins between quantiles of the probabilities, with limits by a bootstrap over patients."""
    count = max(2, min(BINS, len(truth) // _LEAST))
    inner = np.unique(np.quantile(claimed, np.linspace(0, 1, count + 1)[1:-1]))
    members = np.eye(len(inner) + 1)[np.searchsorted(inner, claimed, side="left")]
    members = members[:, members.any(axis=0)]

    def shares(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore"):  # a bin may be empty of the patients drawn
            found: Floats = ((weights * truth) @ members) / (weights @ members)
        return found

    once = np.ones((1, len(truth)))
    drawn = bootstrap(
        {"shares": shares}, sample.codes, sample.patients,
        resamples=RESAMPLES, rng=np.random.default_rng(seed),
    )["shares"]  # fmt: skip
    limits = [expanded_percentiles(column, sample.patients) for column in drawn.T]
    low, high = np.array(limits).T
    return Reliability((claimed @ members) / members.sum(axis=0), shares(once)[0], low, high)


def _draw(axes: Axes, found: Reliability, split: str, color: str) -> None:
    axes.vlines(found.claimed, found.low, found.high, color=color, linewidth=0.8, alpha=0.7)
    (line,) = axes.plot(
        found.claimed, found.found, marker=SPLIT_MARKERS[split], color=color, clip_on=False
    )
    line.set_gid(f"reliability-{split}")
