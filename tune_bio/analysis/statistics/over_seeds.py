"""Mean scores of configurations over seeds, with seeds and patients in the variance."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from tune_bio.analysis.statistics.arrays import Floats, checked_probabilities
from tune_bio.analysis.statistics.intervals import (
    NARROW,
    ROUNDING,
    UNKNOWN,
    Estimate,
    Limits,
    logit_interval,
    t_quantile,
)
from tune_bio.analysis.statistics.resampling import bootstrap
from tune_bio.analysis.statistics.sample import checked_sample
from tune_bio.analysis.statistics.scoring import LOWER_IS_BETTER, OF_ALL_CLASSES, scorer
from tune_bio.errors import StatisticsError

METHOD = "t, variance of seeds and of patients"


@dataclass(frozen=True)
class DifferenceOverSeeds:
    """Difference a - b of two configurations' mean scores, its 95 % interval and its p-value."""

    metric: str
    difference: float
    low: float
    high: float
    p_value: float
    method: str
    note: str = ""


@dataclass(frozen=True)
class _Spread:
    value: float
    variance: float
    degrees_of_freedom: float

    @property
    def is_rounding(self) -> bool:
        """True if the variance is only rounding error."""
        return self.variance < ROUNDING**2


@dataclass(frozen=True)
class _Scores:
    """Scores (seeds,), the same on bootstrap samples (resamples, seeds), and number of patients."""

    per_seed: Floats
    resampled: Floats
    patients: int
    has_single_patient_class: bool


def mean_over_seeds(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    patients: npt.NDArray[Any],
    metric: str,
    *,
    positive: int,
    patients_known: bool = True,
    seed: int,
    resamples: int = 2000,
) -> Estimate:
    """Estimate the mean score of one configuration, for other seeds and other patients.

    Seeds and patients are crossed: the variance of the mean is that over seeds, plus that of a
    bootstrap of patients, minus what both count twice (Cameron, Gelbach & Miller 2011, Robust
    inference with multiway clustering, Journal of Business & Economic Statistics 29:238). The t
    quantile has Satterthwaite's degrees of freedom, and the limits of fractions are symmetric on
    the logit scale. There are no limits (NaN) if nothing changes the score, for example because
    every seed is right about every image, or if the metric needs every class and one of them has
    only one patient.

    Args:
        labels: (n,) class indices; every class occurs.
        probabilities: (seeds, n, classes), at least two seeds, all on the same images.
        patients: (n,) each image's patient.
        metric: one of `scoring.METRICS`.
        positive: index of the positive class (two classes).
        patients_known: False if the true patients are unknown; the note then says so.
        seed: seed of the bootstrap.
        resamples: number of bootstrap samples.

    Raises:
        StatisticsError: there are fewer than two seeds, or the arrays do not fit together.
    """
    scores = _scores(labels, probabilities, patients, metric, positive, seed, resamples)
    spread = _spread(scores.per_seed, scores.resampled, scores.patients)
    undefined = _why_undefined(metric, spread, scores)
    limits = UNKNOWN if undefined else _limits(metric, spread)
    notes = [f"{len(scores.per_seed)} seeds, {scores.patients} patients", *undefined]
    if not patients_known:
        notes.append(NARROW)
    return Estimate(metric, spread.value, *limits, METHOD, None, "; ".join(notes))


def compare_over_seeds(
    labels: npt.ArrayLike,
    probabilities_a: npt.ArrayLike,
    probabilities_b: npt.ArrayLike,
    patients: npt.NDArray[Any],
    metric: str,
    *,
    positive: int,
    paired: bool = False,
    patients_known: bool = True,
    seed: int,
    resamples: int = 2000,
) -> DifferenceOverSeeds:
    """Compare the mean scores of two configurations, for other seeds and other patients.

    Like `mean_over_seeds`, for the difference; the same patients are drawn for both. If `paired`,
    the k-th seed of a is also that of b (they share what the seed decides), and the variance over
    seeds is that of the differences; otherwise it is the sum of the two configurations' variances.
    The p-value is two-sided, of t. Where nothing changes the difference, it is the smallest that
    exchanging whole patients can give, and there are no limits.

    Args:
        labels, patients, metric, positive, patients_known, seed, resamples: as in
            `mean_over_seeds`.
        probabilities_a: (seeds, n, classes) of configuration a.
        probabilities_b: (seeds, n, classes) of configuration b, with as many seeds if `paired`.
        paired: True if the seeds of a and b are the same, in the same order.

    Raises:
        StatisticsError: there are fewer than two seeds, the seeds cannot be paired, or the arrays
            do not fit together.
    """
    arguments = (patients, metric, positive, seed, resamples)
    a = _scores(labels, probabilities_a, *arguments)
    b = _scores(labels, probabilities_b, *arguments)
    if paired and len(a.per_seed) != len(b.per_seed):
        raise StatisticsError(
            f"{len(a.per_seed)} and {len(b.per_seed)} seeds cannot be paired",
            "compare only the seeds that both have",
        )
    if paired:
        spread = _spread(a.per_seed - b.per_seed, a.resampled - b.resampled, a.patients)
    else:
        spread = _unpaired(a.per_seed, b.per_seed, a.resampled, b.resampled, a.patients)
    undefined = _why_undefined(metric, spread, a)
    notes = [f"{len(a.per_seed)} and {len(b.per_seed)} seeds, {a.patients} patients", *undefined]
    if not patients_known:
        notes.append(NARROW)
    half = t_quantile(spread.degrees_of_freedom) * math.sqrt(spread.variance)
    limits = UNKNOWN if undefined else (spread.value - half, spread.value + half)
    p_value = (
        math.nan
        if a.has_single_patient_class and metric in OF_ALL_CLASSES
        else _p_value(spread, a.patients)
    )
    return DifferenceOverSeeds(metric, spread.value, *limits, p_value, METHOD, "; ".join(notes))


def _scores(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    patients: npt.NDArray[Any],
    metric: str,
    positive: int,
    seed: int,
    resamples: int,
) -> _Scores:
    predicted = checked_probabilities(probabilities, None, None, None)
    if len(predicted) < 2:
        raise StatisticsError(
            f"{len(predicted)} seed does not give a variance over seeds",
            "train replicates, for example with --replicates 3",
        )
    samples = [checked_sample(labels, probs, patients, positive) for probs in predicted]
    scorers = {
        str(k): scorer(metric, s.labels, s.probabilities, positive) for k, s in enumerate(samples)
    }
    unit_weights = np.ones((1, predicted.shape[1]))
    scores = np.array([float(score(unit_weights)[0]) for score in scorers.values()])
    rng = np.random.default_rng(seed)
    first = samples[0]
    drawn = bootstrap(scorers, first.codes, first.patients, resamples=resamples, rng=rng)
    resampled = np.stack(list(drawn.values()), axis=1)
    return _Scores(scores, resampled, first.patients, first.has_single_patient_class)


def _why_undefined(metric: str, spread: _Spread, scores: _Scores) -> list[str]:
    """Return the reason why there is no interval; an empty list if there is one."""
    if scores.has_single_patient_class and metric in OF_ALL_CLASSES:
        return ["a class has one patient: no interval"]
    return ["no seed and no patient changes it: no interval"] if spread.is_rounding else []


def _spread(scores: Floats, resampled: Floats, patients: int) -> _Spread:
    """Return the mean over seeds of scores or of paired differences, with its variance."""
    seeds = len(scores)
    over_seeds = float(scores.var(ddof=1)) / seeds
    over_patients = _bootstrap_variance(resampled.mean(axis=1), patients)
    # One seed's variance over patients holds all of the interaction of seeds and patients, the
    # mean's only 1 / seeds of it.
    of_one_seed = float(np.mean([_bootstrap_variance(column, patients) for column in resampled.T]))
    counted_twice = max(0.0, of_one_seed - over_patients) / (seeds - 1)
    variance = max(over_seeds + over_patients - counted_twice, over_seeds, over_patients)
    return _satterthwaite(
        float(scores.mean()), variance, [(over_seeds, seeds - 1), (over_patients, patients - 1)]
    )


def _unpaired(a: Floats, b: Floats, drawn_a: Floats, drawn_b: Floats, patients: int) -> _Spread:
    variances = [(float(s.var(ddof=1)) / len(s), len(s) - 1) for s in (a, b)]
    difference = drawn_a.mean(axis=1) - drawn_b.mean(axis=1)
    parts = [*variances, (_bootstrap_variance(difference, patients), patients - 1)]
    # What seeds and patients both count is not subtracted: slightly too wide.
    return _satterthwaite(float(a.mean() - b.mean()), sum(v for v, _ in parts), parts)


def _bootstrap_variance(values: Floats, patients: int) -> float:
    return float(np.nanvar(values, ddof=1)) * patients / (patients - 1)


def _satterthwaite(value: float, variance: float, parts: list[tuple[float, int]]) -> _Spread:
    denominator = sum(part**2 / dof for part, dof in parts)
    fewest = min(dof for _, dof in parts)
    return _Spread(
        value, variance, max(variance**2 / denominator, fewest) if denominator > 0 else fewest
    )


def _limits(metric: str, spread: _Spread) -> Limits:
    quantile, error = t_quantile(spread.degrees_of_freedom), math.sqrt(spread.variance)
    if metric not in LOWER_IS_BETTER and 0 < spread.value < 1:
        return logit_interval(spread.value, error, quantile)
    upper_bound = math.inf if metric in LOWER_IS_BETTER else 1.0
    low, high = spread.value - quantile * error, spread.value + quantile * error
    return max(0.0, low), min(upper_bound, high)


def _p_value(spread: _Spread, patients: int) -> float:
    if spread.is_rounding:
        return 1.0 if abs(spread.value) < ROUNDING else 2.0 ** (1 - patients)
    t = abs(spread.value) / math.sqrt(spread.variance)
    return float(2 * stats.t.sf(t, spread.degrees_of_freedom))
