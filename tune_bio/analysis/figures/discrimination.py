"""ROC and precision-recall curves of the winner, with confidence bands over patients."""

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
_MIN_RESAMPLES, _MAX_SORTED = 100, 3_000_000  # images over all resamples, seconds of sorting
_BANDS = 3  # most curves with bands; more bands would hide each other
_GRID = np.linspace(0, 1, 101)
_CHARACTERS = 40


@dataclass(frozen=True)
class Curve:
    """The truth and scores of one class against the rest on one split."""

    label: str
    color: str
    truth: Integers
    scores: Floats
    sample: Sample

    @property
    def share(self) -> float:
        """The share of images that are of the class."""
        return float(self.truth.mean())


def applies_discrimination(data: FigureData) -> bool:
    """Return True if the winner has predictions for images of every class."""
    return bool(data.samples)


def roc_and_precision_recall(data: FigureData) -> Figure:
    """Plot both curves: of the positive class, or of each of more than two against the rest.

    Curves of the positive class are shown on every split, those of many classes on the last one.
    Bands are pointwise 95 % intervals of a bootstrap over patients, seeded by the study.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    curves = list(_curves(data))
    figure, (left, right) = new_figure(1, 2, 2.0 + 0.12 * (len(curves) + 2))
    left.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    entries = []
    for curve in curves:
        _plot_curve(left, right, curve, data.study.seed, banded=len(curves) <= _BANDS)
        area = roc_auc_score(curve.truth, curve.scores)
        precision = average_precision_score(curve.truth, curve.scores)
        label = f"{curve.label}: AUROC {area:.3f}, average precision {precision:.3f}"
        entries.append(key(curve.color, label))
    left.set(title="ROC", xlabel="1 - specificity", ylabel="sensitivity")
    right.set(title="Precision-recall", xlabel="recall", ylabel="precision")
    for axes in (left, right):
        axes.set(xlim=(0, 1), ylim=(0, 1), box_aspect=1)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    bands = f"; bands: 95 % intervals over {data.units}" if len(curves) <= _BANDS else ""
    entries.append(key(GREY, f"chance{bands}", linestyle=":"))
    title = f"{data.winner}, {_classes_shown(data)}"
    figure.legend(handles=entries, loc="outside lower left", title=title, alignment="left")
    return figure


@dataclass(frozen=True)
class Points:
    """False and true positive rate and precision at each threshold, the highest threshold first."""

    false: Floats
    true: Floats
    precision: Floats


def curve_points(truth: Integers, scores: Floats, weights: Floats | None = None) -> Points:
    """Compute the points of both curves.

    Args:
        truth: (n,) of 0 and 1, both present.
        scores: (n,).
        weights: (n,), of images; None for equal weights.
    """
    from sklearn.metrics import roc_curve

    image_weights = np.ones(len(truth)) if weights is None else weights
    false, true, _ = roc_curve(truth, scores, sample_weight=weights, drop_intermediate=False)
    hits, alarms = true * (image_weights @ truth), false * (image_weights @ (1 - truth))
    with np.errstate(invalid="ignore"):  # above the highest score no image is predicted positive
        return Points(false, true, hits / (hits + alarms))


def _classes_shown(data: FigureData) -> str:
    if len(data.classes) == 2:
        return f"positive class: {truncate(data.classes[data.study.positive], _CHARACTERS)}"
    split, classes = SPLIT_NAMES[list(data.samples)[-1]], len(data.classes)
    shown = "each class" if classes <= len(SERIES) else f"{len(SERIES)} of {classes} classes"
    hardest = "" if classes <= len(SERIES) else " (lowest AUROC)"
    return f"{shown}{hardest} against the rest, {split}"


def _curves(data: FigureData) -> Iterator[Curve]:
    if len(data.classes) == 2:
        for split, sample in data.samples.items():
            yield _curve(sample, sample.positive, SPLIT_NAMES[split], SPLIT_COLORS[split])
        return
    sample = list(data.samples.values())[-1]
    for index, color in zip(_hardest_first(sample), SERIES, strict=False):
        yield _curve(sample, index, truncate(data.classes[index], 20), color)


def _hardest_first(sample: Sample) -> list[int]:
    """Return the classes, the lowest AUROC first if there are too many to show all."""
    classes = range(sample.classes)
    if sample.classes <= len(SERIES):
        return list(classes)
    areas = [roc_auc_score(sample.labels == k, sample.probabilities[:, k]) for k in classes]
    return sorted(classes, key=areas.__getitem__)


def _curve(sample: Sample, index: int, label: str, color: str) -> Curve:
    truth = (sample.labels == index).astype(np.int64)
    return Curve(label, color, truth, sample.probabilities[:, index], sample)


def _plot_curve(left: Axes, right: Axes, curve: Curve, seed: int, *, banded: bool) -> None:
    points = curve_points(curve.truth, curve.scores)
    (line,) = left.plot(points.false, points.true, color=curve.color)
    line.set_gid(f"roc-{curve.label}")
    (line,) = right.plot(points.true[1:], points.precision[1:], color=curve.color)
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
    """Return limits of sensitivity at 101 false positive rates, and of precision at 101 recalls."""
    codes, patients = curve.sample.codes, curve.sample.patients

    def both_curves(weights: Floats) -> Floats:
        points = curve_points(curve.truth, curve.scores, weights)
        at = np.minimum(np.searchsorted(points.true[1:], _GRID), len(points.true) - 2)
        return np.stack([np.interp(_GRID, points.false, points.true), points.precision[1:][at]])

    scorers = {"curves": _per_resample(both_curves, curve)}
    rng = np.random.default_rng(seed)
    resamples = max(_MIN_RESAMPLES, min(RESAMPLES, _MAX_SORTED // len(codes)))
    resampled = bootstrap(scorers, codes, patients, resamples=resamples, rng=rng)
    roc, pr = (_limits(resampled["curves"][:, k], patients) for k in (0, 1))
    return roc, pr


def _per_resample(scorer: Callable[[Floats], Floats], curve: Curve) -> Callable[[Floats], Floats]:
    """Return a scorer of many resamples, with NaN for those without positives or negatives."""
    undefined = np.full((2, len(_GRID)), np.nan)

    def score(resamples: Floats) -> Floats:
        positive = resamples @ curve.truth
        valid = (positive > 0) & (positive < resamples.sum(axis=1))
        rows = zip(resamples, valid, strict=True)
        return np.stack([scorer(weights) if is_valid else undefined for weights, is_valid in rows])

    return score


def _limits(resampled: Floats, patients: int) -> tuple[Floats, Floats]:
    low, high = np.array([expanded_percentiles(column, patients) for column in resampled.T]).T
    return low, high
