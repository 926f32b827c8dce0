"""Metrics of weighted images, on which all resampling is based.

A scorer is built once from labels and probabilities and then scores many weightings of the images
at a time; a weight counts an image several times or not at all. With all weights 1 it agrees with
scikit-learn. NaN where a class has no weight.
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
# Undefined without one of the classes, as on resamples that lack the only patient of a class.
OF_ALL_CLASSES = ("balanced_accuracy", "macro_f1", "auroc", "auprc")
NEWTON_STEPS, HALVINGS, CONVERGED = 50, 30, 1e-6
MAX_STEP = 4.0  # of an intercept, on the logit scale


def scorer(metric: str, labels: Integers, probabilities: Floats, positive: int) -> Scorer:
    """Return the scorer of one metric; raise StatisticsError if the metric is unknown.

    Args:
        metric: one of METRICS, as `metrics.compute_metrics` defines it; `brier` is halved for two
            classes and `auprc` is the average precision, both as in scikit-learn (more than two
            classes: the macro mean, one-vs-rest).
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
    metric_of_confusion = {
        "accuracy": _accuracy,
        "balanced_accuracy": _balanced_accuracy,
        "macro_f1": _macro_f1,
    }[metric]
    return lambda weights: metric_of_confusion(confusion(weights))


def score(metric: str, labels: Integers, probabilities: Floats, positive: int) -> float:
    """Compute one metric with every image counted once."""
    return float(scorer(metric, labels, probabilities, positive)(np.ones((1, len(labels))))[0])


def image_losses(metric: str, labels: Integers, probabilities: Floats) -> Floats:
    """Return each image's term of a mean metric, (n,): its log loss (natural) or Brier score."""
    if metric == "loss":
        tiny = np.finfo(np.float64).eps
        of_label = probabilities[np.arange(len(labels)), labels]
        losses: Floats = -np.log(np.clip(of_label, tiny, 1 - tiny))
        return losses
    truth = np.eye(probabilities.shape[1])[labels]
    distance: Floats = ((probabilities - truth) ** 2).sum(axis=1)
    return distance / 2 if probabilities.shape[1] == 2 else distance


def ranks_of_columns(probabilities: Floats) -> Floats:
    """Return each column's ranks, scaled to (0, 1] with ties averaged: (n, classes)."""
    ranks: Floats = stats.rankdata(probabilities, axis=0) / len(probabilities)
    return ranks


def recalibration(truth: Integers, probability: Floats, *, slope: bool) -> Scorer:
    """Return a scorer of logistic recalibration: weights (resamples, n) in, (resamples, 2) out.

    The intercept a and slope b of logit P(positive) = a + b logit(p) by maximum likelihood, with
    Newton's method: Cox 1958, Two further applications of a model for binary regression,
    Biometrika 45:562. Without `slope`, b is fixed at 1 and a is calibration in the large (Van
    Calster et al. 2019, Calibration: the Achilles heel of predictive analytics, BMC Medicine
    17:230). NaN where one class has no weight and, with `slope`, where the probabilities separate
    the classes, ties at the border included: then the likelihood has no maximum.
    """
    logit = bounded_logits(probability)

    def log_likelihood(weights: Floats, coefficients: Floats) -> Floats:
        linear = coefficients[:, :1] + coefficients[:, 1:] * logit
        with np.errstate(invalid="ignore"):  # rows without a solution are NaN
            per_image = truth * linear - np.logaddexp(0, linear)
        total: Floats = (weights * per_image).sum(axis=1)
        return total

    def fit(weights: Floats, start: Floats) -> Floats:
        coefficients = np.tile(start, (len(weights), 1))
        step, current = np.zeros_like(coefficients), log_likelihood(weights, coefficients)
        for _ in range(NEWTON_STEPS):
            fitted = special.expit(coefficients[:, :1] + coefficients[:, 1:] * logit)
            residual = weights * (truth - fitted)
            spread = weights * fitted * (1 - fitted)
            step = _newton_step(residual, spread, logit, slope)
            if not slope:  # a full step may end where all fitted probabilities are 0 or 1
                step = np.clip(step, -MAX_STEP, MAX_STEP)
            # For overconfident models a full step overshoots: it is halved until the likelihood
            # does not fall. The likelihood has a single maximum, so this always converges.
            for _ in range(HALVINGS):
                proposed = log_likelihood(weights, coefficients + step)
                overshoots = proposed < current - 1e-9 * np.abs(current)
                if not overshoots.any():
                    break
                step[overshoots] /= 2
            coefficients, current = coefficients + step, proposed
            if np.nanmax(np.abs(step), initial=0.0) < CONVERGED:
                break
        coefficients[~(np.abs(step).max(axis=1) < CONVERGED)] = np.nan
        if slope:  # rounding may end the search far out, as if at a maximum
            coefficients[_separated(weights, truth, logit)] = np.nan
        return coefficients

    initial = np.array([0.0, 0.0 if slope else 1.0])
    unweighted = fit(np.ones((1, len(truth))), initial)
    warm_start = unweighted[0] if np.isfinite(unweighted).all() else initial
    return lambda weights: fit(weights, warm_start)


def bounded_logits(probability: Floats) -> Floats:
    """Return finite logits, also of probabilities that float32 has rounded to 0 or 1."""
    logits: Floats = special.logit(np.clip(probability, 1e-7, 1 - 1e-7))
    return logits


def _separated(weights: Floats, truth: Integers, logit: Floats) -> Flags:
    """Return True for each weighting whose classes are separated by a border, (resamples,).

    All positive images are on the border or on one side of it, and all others on the border or on
    the other side. Constant logits are separated too.
    """

    def extremes(label: int) -> tuple[Floats, Floats]:
        selected = (weights > 0) & (truth == label)
        lowest = np.where(selected, logit, np.inf).min(axis=1)
        return lowest, np.where(selected, logit, -np.inf).max(axis=1)

    (low_positive, high_positive), (low_other, high_other) = extremes(1), extremes(0)
    separated: Flags = (low_positive >= high_other) | (high_positive <= low_other)
    return separated


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
    return lambda weights: np.mean([class_scorer(weights) for class_scorer in scorers], axis=0)


def _confusion(labels: Integers, predicted: Integers, classes: int) -> Scorer:
    """Return a function from weights (resamples, n) to matrices (resamples, label, predicted)."""
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
    """Return a function that sums weights of positives and of others at each distinct score.

    The lowest score comes first.
    """
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
        true_positive = np.cumsum(positive, axis=1)
        called_positive = true_positive + np.cumsum(negative, axis=1)
        # A score whose images have no weight adds nothing, whatever the denominator.
        precision = true_positive / np.where(called_positive > 0, called_positive, 1)
        return _ratio(np.einsum("bs,bs->b", positive, precision), true_positive[:, -1])

    return precisions


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return `numerator` / `denominator`, NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Floats = np.where(denominator > 0, numerator / denominator, np.nan)
    return ratio
