"""ROC and precision-recall curves of the winner, with bands over patients."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.style import (
    GREY,
    SERIES,
    SPLIT_COLORS,
    SPLIT_NAMES,
    key,
    new_figure,
    truncate,
)
from tune_bio.analysis.statistics.arrays import Floats, Integers
from tune_bio.analysis.statistics.intervals import expanded_percentiles
from tune_bio.analysis.statistics.resampling import bootstrap
from tune_bio.analysis.statistics.sample import Sample

RESAMPLES = 300
_LEAST, _SORTED = 100, 3_000_000  # resamples; images in all of them, seconds of sorting
_BANDS = 3  # beyond so many curves they would hide each other
_GRID = np.linspace(0, 1, 101)
_CHARACTERS = 40


@dataclass(frozen=True)
class Curve:
    """One class against the rest on one split; `share` of the images are of the class."""

    label: str
    color: str
    truth: Integers
    scores: Floats
    sample: Sample

    @property
    def share(self) -> float:
        """How many images are of the class."""
        return float(self.truth.mean())


def applies_discrimination(material: FigureData) -> bool:
    """Where the winner has predictions of every class."""
    return bool(material.samples)


def roc_and_precision_recall(material: FigureData) -> Figure:
    """Two classes: the positive one on each split; more: each against the rest, on the last split.

    Bands are pointwise 95 % intervals of a bootstrap over patients, seeded by the study.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    curves = list(_curves(material))
    figure, (left, right) = new_figure(1, 2, 2.0 + 0.12 * (len(curves) + 2))
    left.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    entries = []
    for curve in curves:
        _draw(left, right, curve, material.study.seed, banded=len(curves) <= _BANDS)
        area = roc_auc_score(curve.truth, curve.scores)
        precision = average_precision_score(curve.truth, curve.scores)
        told = f"{curve.label}: AUROC {area:.3f}, average precision {precision:.3f}"
        entries.append(key(curve.color, told))
    left.set(title="ROC", xlabel="1 - specificity", ylabel="sensitivity")
    right.set(title="Precision and recall", xlabel="recall", ylabel="precision")
    for axes in (left, right):
        axes.set(xlim=(0, 1), ylim=(0, 1), box_aspect=1)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    bands = f"; bands: 95 %, over {material.units}" if len(curves) <= _BANDS else ""
    entries.append(key(GREY, f"no knowledge{bands}", linestyle=":"))
    title = f"{material.winner}, {_of_which(material)}"
    figure.legend(handles=entries, loc="outside lower left", title=title, alignment="left")
    return figure


@dataclass(frozen=True)
class Points:
    """False and true positive rate and precision at each threshold, the highest first."""

    false: Floats
    true: Floats
    precision: Floats


def curve_points(truth: Integers, scores: Floats, weights: Floats | None = None) -> Points:
    """Of scores (n,) for a truth (n,) of 0 and 1, both present, and images' weights (n,)."""
    from sklearn.metrics import roc_curve

    counted = np.ones(len(truth)) if weights is None else weights
    false, true, _ = roc_curve(truth, scores, sample_weight=weights, drop_intermediate=False)
    hits, alarms = true * (counted @ truth), false * (counted @ (1 - truth))
    with np.errstate(invalid="ignore"):  # above the highest score nothing is called positive
        return Points(false, true, hits / (hits + alarms))


def _of_which(material: FigureData) -> str:
    if len(material.classes) == 2:
        return f"positive class: {truncate(material.classes[material.study.positive], _CHARACTERS)}"
    split, classes = SPLIT_NAMES[list(material.samples)[-1]], len(material.classes)
    which = "each class" if classes <= len(SERIES) else f"{len(SERIES)} of {classes} classes,"
    hardest = "" if classes <= len(SERIES) else " the hardest,"
    return f"{which}{hardest} against the rest, {split}"


def _curves(material: FigureData) -> Iterator[Curve]:
    if len(material.classes) == 2:
        for split, sample in material.samples.items():
            yield _curve(sample, sample.positive, SPLIT_NAMES[split], SPLIT_COLORS[split])
        return
    sample = list(material.samples.values())[-1]
    for index, color in zip(_hardest_first(sample), SERIES, strict=False):
        yield _curve(sample, index, truncate(material.classes[index], 20), color)


def _hardest_first(sample: Sample) -> list[int]:
    """The classes, those of the smallest AUROC first where not all have room."""
    classes = range(sample.classes)
    if sample.classes <= len(SERIES):
        return list(classes)
    areas = [roc_auc_score(sample.labels == k, sample.probabilities[:, k]) for k in classes]
    return sorted(classes, key=areas.__getitem__)


def _curve(sample: Sample, index: int, label: str, color: str) -> Curve:
    truth = (sample.labels == index).astype(np.int64)
    return Curve(label, color, truth, sample.probabilities[:, index], sample)


def _draw(left: Axes, right: Axes, curve: Curve, seed: int, *, banded: bool) -> None:
    found = curve_points(curve.truth, curve.scores)
    (line,) = left.plot(found.false, found.true, color=curve.color)
    line.set_gid(f"roc-{curve.label}")
    (line,) = right.plot(found.true[1:], found.precision[1:], color=curve.color)
    line.set_gid(f"pr-{curve.label}")
    right.axhline(curve.share, color=curve.color, linewidth=0.8, linestyle=":").set_gid(
        f"share-{curve.label}"
    )
    if not banded:
        return
    roc, pr = bands(curve, seed)
    left.fill_between(_GRID, *roc, color=curve.color, alpha=0.2, linewidth=0)
    right.fill_between(_GRID, *pr, color=curve.color, alpha=0.2, linewidth=0)


def bands(curve: Curve, seed: int) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Limits of sensitivity at 101 false positive rates, and of precision at 101 recalls."""
    codes, patients = curve.sample.codes, curve.sample.patients

    def both(weights: Floats) -> Floats:
        found = curve_points(curve.truth, curve.scores, weights)
        there = np.minimum(np.searchsorted(found.true[1:], _GRID), len(found.true) - 2)
        return np.stack([np.interp(_GRID, found.false, found.true), found.precision[1:][there]])

    scorers = {"both": _each(both, curve)}
    rng = np.random.default_rng(seed)
    resamples = max(_LEAST, min(RESAMPLES, _SORTED // len(codes)))
    drawn = bootstrap(scorers, codes, patients, resamples=resamples, rng=rng)
    roc, pr = (_limits(drawn["both"][:, k], patients) for k in (0, 1))
    return roc, pr


def _each(of_one: Callable[[Floats], Floats], curve: Curve) -> Callable[[Floats], Floats]:
    """Of many weightings at a time; NaN where one leaves no image on either side."""
    nothing = np.full((2, len(_GRID)), np.nan)

    def of_weightings(weightings: Floats) -> Floats:
        positive = weightings @ curve.truth
        both = (positive > 0) & (positive < weightings.sum(axis=1))
        rows = zip(weightings, both, strict=True)
        return np.stack([of_one(weights) if fine else nothing for weights, fine in rows])

    return of_weightings


def _limits(drawn: Floats, patients: int) -> tuple[Floats, Floats]:
    low, high = np.array([expanded_percentiles(column, patients) for column in drawn.T]).T
    return low, high
