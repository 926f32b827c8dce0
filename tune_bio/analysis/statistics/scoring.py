"""Metrics of images that count several times or not at all: what every resampling rests on.

A scorer is made once of labels and probabilities and then scores many weightings of the images at
a time; with all weights 1 it gives what scikit-learn gives. NaN where a class has no weight.
"""

from collections.abc import Callable

import numpy as np
from scipy import special, stats

from tune_bio.analysis.statistics.arrays import Flags, Floats, Integers
from tune_bio.errors import StatisticsError

# Weights of images (resamples, n) in, values (resamples,) out.
Scorer = Callable[[Floats], Floats]

METRICS = ("loss", "accuracy", "balanced_accuracy", "macro_f1", "auroc", "auprc", "brier")
LOWER_IS_BETTER = ("loss", "brier")
# One patient of a class is in or out of a resample of patients; these then are not defined.
OF_ALL_CLASSES = ("balanced_accuracy", "macro_f1", "auroc", "auprc")
NEWTON_STEPS, HALVINGS, CONVERGED = 50, 30, 1e-6
LONGEST_STEP = 4.0  # of an intercept, on the logit scale


def scorer(metric: str, labels: Integers, probabilities: Floats, positive: int) -> Scorer:
    """The scorer of one metric; raises StatisticsError for an unknown one.

    Args:
        metric: one of METRICS, as `metrics.evaluate` defines it; `brier` is halved for two classes
            and `auprc` is the average precision, both as scikit-learn has them (more than two
            classes: the macro mean, one against the rest).
        labels: (n,) class indices.
        probabilities: (n, classes).
        positive: index of the positive class (two classes; ignored for more).
    """
    if metric not in METRICS:
        raise StatisticsError(f"unknown metric {metric!r}", f"known: {', '.join(METRICS)}")
    classes = probabilities.shape[1]
    if metric in ("auroc", "auprc"):
        curve = _auroc if metric == "auroc" else _auprc
        counted = [positive] if classes == 2 else range(classes)
        return _mean_of([curve(labels == k, probabilities[:, k]) for k in counted])
    if metric in ("loss", "brier"):
        losses = image_losses(metric, labels, probabilities)
        return lambda weights: _ratio(weights @ losses, weights.sum(axis=1))
    confusion = _confusion(labels, probabilities.argmax(axis=1), classes)
    summary = {
        "accuracy": _accuracy,
        "balanced_accuracy": _balanced_accuracy,
        "macro_f1": _macro_f1,
    }[metric]
    return lambda weights: summary(confusion(weights))


def score(metric: str, labels: Integers, probabilities: Floats, positive: int) -> float:
    """One metric with every image counted once."""
    return float(scorer(metric, labels, probabilities, positive)(np.ones((1, len(labels))))[0])


def image_losses(metric: str, labels: Integers, probabilities: Floats) -> Floats:
    """What each image adds to a mean metric, (n,): its log loss (natural) or its Brier score."""
    if metric == "loss":
        tiny = np.finfo(np.float64).eps
        shares = probabilities[np.arange(len(labels)), labels]
        losses: Floats = -np.log(np.clip(shares, tiny, 1 - tiny))
        return losses
    truth = np.eye(probabilities.shape[1])[labels]
    distance: Floats = ((probabilities - truth) ** 2).sum(axis=1)
    return distance / 2 if probabilities.shape[1] == 2 else distance


def ranks_of_columns(probabilities: Floats) -> Floats:
    """Each column's ranks over (0, 1], ties sharing theirs: (n, classes)."""
    ranks: Floats = stats.rankdata(probabilities, axis=0) / len(probabilities)
    return ranks


def recalibration(truth: Integers, probability: Floats, *, slope: bool) -> Scorer:
    """Logistic recalibration, of many weightings: (resamples, n) in, (resamples, 2) out.

    The intercept a and slope b of logit P(positive) = a + b logit(p) at greatest likelihood, by
    Newton's method: Cox 1958, Two further applications of a model for binary regression,
    Biometrika 45:562. Without `slope`, b stays 1 and a is calibration in the large (Van Calster et
    al. 2019, Calibration: the Achilles heel of predictive analytics, BMC Medicine 17:230). NaN
    where one class has no weight, and for the slope where probabilities separate the classes, ties
    at the border included: then there is no greatest likelihood.
    """
    logit = bounded_logits(probability)

    def likelihood(weights: Floats, found: Floats) -> Floats:
        linear = found[:, :1] + found[:, 1:] * logit
        with np.errstate(invalid="ignore"):  # rows that are given up are NaN
            each = truth * linear - np.logaddexp(0, linear)
        total: Floats = (weights * each).sum(axis=1)
        return total

    def fit(weights: Floats, start: Floats) -> Floats:
        found = np.tile(start, (len(weights), 1))
        step, reached = np.zeros_like(found), likelihood(weights, found)
        for _ in range(NEWTON_STEPS):
            fitted = special.expit(found[:, :1] + found[:, 1:] * logit)
            residual = weights * (truth - fitted)
            spread = weights * fitted * (1 - fitted)
            step = _newton_step(residual, spread, logit, slope)
            if not slope:  # a whole step may land where nothing is left to be told apart
                step = np.clip(step, -LONGEST_STEP, LONGEST_STEP)
            # Of overconfident models a whole step lands beyond the answer: it is halved until it
            # gains. The likelihood has one summit, so that this always gets there.
            for _ in range(HALVINGS):
                gained = likelihood(weights, found + step)
                short = gained < reached - 1e-9 * np.abs(reached)
                if not short.any():
                    break
                step[short] /= 2
            found, reached = found + step, gained
            if np.nanmax(np.abs(step), initial=0.0) < CONVERGED:
                break
        found[~(np.abs(step).max(axis=1) < CONVERGED)] = np.nan
        if slope:  # rounding may stop far out, as if that were a summit
            found[_separated(weights, truth, logit)] = np.nan
        return found

    begin = np.array([0.0, 0.0 if slope else 1.0])
    unweighted = fit(np.ones((1, len(truth))), begin)
    near = unweighted[0] if np.isfinite(unweighted).all() else begin
    return lambda weights: fit(weights, near)


def bounded_logits(probability: Floats) -> Floats:
    """Logits; of probabilities that float32 has rounded to 0 or 1 they would be infinite."""
    found: Floats = special.logit(np.clip(probability, 1e-7, 1 - 1e-7))
    return found


def _separated(weights: Floats, truth: Integers, logit: Floats) -> Flags:
    """Whether a border has all positive images of a weighting on it or on one side: (resamples,).

    And all others on it or on the other side; as of a constant.
    """

    def ends(of: int) -> tuple[Floats, Floats]:
        there = (weights > 0) & (truth == of)
        lowest = np.where(there, logit, np.inf).min(axis=1)
        return lowest, np.where(there, logit, -np.inf).max(axis=1)

    (low_positive, high_positive), (low_other, high_other) = ends(1), ends(0)
    found: Flags = (low_positive >= high_other) | (high_positive <= low_other)
    return found


def _newton_step(residual: Floats, spread: Floats, logit: Floats, slope: bool) -> Floats:
    g0, h00 = residual.sum(axis=1), spread.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        if slope:
            g1, h01, h11 = residual @ logit, spread @ logit, spread @ logit**2
            step = np.stack([h11 * g0 - h01 * g1, h00 * g1 - h01 * g0], axis=1)
            step /= (h00 * h11 - h01**2)[:, None]
        else:
            step = np.stack([g0 / h00, np.zeros_like(g0)], axis=1)
    return np.where(np.isfinite(step), step, np.nan)


def _mean_of(scorers: list[Scorer]) -> Scorer:
    if len(scorers) == 1:
        return scorers[0]
    return lambda weights: np.mean([each(weights) for each in scorers], axis=0)


def _confusion(labels: Integers, predicted: Integers, classes: int) -> Scorer:
    """Weights (resamples, n) to matrices (resamples, label, predicted)."""
    cells = np.eye(classes**2)[labels * classes + predicted]
    return lambda weights: (weights @ cells).reshape(-1, classes, classes)


def _accuracy(confusion: Floats) -> Floats:
    return _ratio(np.einsum("bkk->b", confusion), confusion.sum(axis=(1, 2)))


def _balanced_accuracy(confusion: Floats) -> Floats:
    recalls = _ratio(np.einsum("bkk->bk", confusion), confusion.sum(axis=2))
    mean: Floats = recalls.mean(axis=1)
    return mean


def _macro_f1(confusion: Floats) -> Floats:
    labelled, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    f1 = _ratio(2 * np.einsum("bkk->bk", confusion), labelled + predicted)
    mean: Floats = np.where((labelled > 0).all(axis=1), f1.mean(axis=1), np.nan)
    return mean


def _by_score(truth: Integers, scores: Floats) -> Callable[[Floats], tuple[Floats, Floats]]:
    """Weights of the positive and of the other images at each distinct score, the lowest first."""
    order = np.argsort(scores, kind="stable")
    sorted_scores = scores[order]
    starts = np.flatnonzero(np.r_[True, sorted_scores[1:] != sorted_scores[:-1]])
    is_positive = np.asarray(truth[order], dtype=np.float64)

    def at_scores(weights: Floats) -> tuple[Floats, Floats]:
        ordered = weights[:, order]
        positive = ordered * is_positive
        if len(starts) == len(order):
            return positive, ordered - positive
        return (
            np.add.reduceat(positive, starts, axis=1),
            np.add.reduceat(ordered - positive, starts, axis=1),
        )

    return at_scores


def _auroc(truth: Integers, scores: Floats) -> Scorer:
    at_scores = _by_score(truth, scores)

    def areas(weights: Floats) -> Floats:
        positive, negative = at_scores(weights)
        below = np.cumsum(negative, axis=1)
        ordered_pairs = np.einsum("bs,bs->b", positive, below - negative / 2)
        return _ratio(ordered_pairs, positive.sum(axis=1) * below[:, -1])

    return areas


def _auprc(truth: Integers, scores: Floats) -> Scorer:
    at_scores = _by_score(truth, -scores)

    def precisions(weights: Floats) -> Floats:
        positive, negative = at_scores(weights)
        called_right = np.cumsum(positive, axis=1)
        called = called_right + np.cumsum(negative, axis=1)
        # A score whose images have no weight adds nothing, whatever stands below.
        precision = called_right / np.where(called > 0, called, 1)
        return _ratio(np.einsum("bs,bs->b", positive, precision), called_right[:, -1])

    return precisions


def _ratio(above: Floats, below: Floats) -> Floats:
    """`above` / `below`, NaN for a divisor of 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(below > 0, above / below, np.nan)
    return found
