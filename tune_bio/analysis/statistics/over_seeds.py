"""How good is a setting, whatever the seed? Means over seeds, with patients in the variance too."""

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
    """The difference a - b of two settings' mean scores, its 95 % interval and its p-value."""

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
    def still(self) -> bool:
        """Whether all is rounding."""
        return self.variance < ROUNDING**2


@dataclass(frozen=True)
class _Scores:
    """Scores (seeds,), the same on bootstrap samples (resamples, seeds), how many patients.

    `lone`: a class has one patient.
    """

    each: Floats
    resampled: Floats
    patients: int
    lone: bool


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
    """The mean score of one setting, for other seeds and other patients.

    Seeds and patients are crossed: the variance of the mean is that over seeds, plus that of a
    bootstrap of patients, less what both count twice (Cameron, Gelbach & Miller 2011, Robust
    inference with multiway clustering, Journal of Business & Economic Statistics 29:238). The t
    quantile has Satterthwaite's degrees of freedom; fractions have their limits on the logit scale.
    Where nothing moves the score, as where every seed is right about every image, or a class has
    one patient, there are no limits (NaN).

    Args:
        labels: (n,) class indices; every class occurs.
        probabilities: (seeds, n, classes), at least two seeds, all on the same images.
        patients: (n,) each image's patient.
        metric: one of `scoring.METRICS`.
        positive: index of the positive class (two classes).
        patients_known: whether `patients` are patients; if not, the note says so.
        seed: of the bootstrap.
        resamples: bootstrap samples.

    Raises:
        StatisticsError: fewer than two seeds, or arrays that do not fit together.
    """
    found = _scores(labels, probabilities, patients, metric, positive, seed, resamples)
    spread = _spread(found.each, found.resampled, found.patients)
    unknown = _why_unknown(metric, spread, found)
    limits = UNKNOWN if unknown else _limits(metric, spread)
    notes = [f"{len(found.each)} seeds, {found.patients} patients", *unknown]
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
    """Is setting a better than setting b, for other seeds and other patients?

    As `mean_over_seeds`, of the difference. The same patients are drawn for both. `paired`: the
    k-th seed of both is one (it shares what the seed decides), so differences vary over seeds;
    otherwise each setting's scores do. Two-sided p-value of t; where nothing moves a difference, it
    is the least that exchanging whole patients can give, and there are no limits.

    Args:
        labels, patients, metric, positive, patients_known, seed, resamples: as there.
        probabilities_a: (seeds, n, classes) of the one setting; `probabilities_b` of the other,
            with as many seeds where `paired`.

    Raises:
        StatisticsError: fewer than two seeds, seeds that do not pair, or arrays that do not fit.
    """
    given = (patients, metric, positive, seed, resamples)
    a = _scores(labels, probabilities_a, *given)
    b = _scores(labels, probabilities_b, *given)
    if paired and len(a.each) != len(b.each):
        raise StatisticsError(
            f"{len(a.each)} and {len(b.each)} seeds do not pair", "compare the seeds that both have"
        )
    if paired:
        spread = _spread(a.each - b.each, a.resampled - b.resampled, a.patients)
    else:
        spread = _unpaired(a.each, b.each, a.resampled, b.resampled, a.patients)
    unknown = _why_unknown(metric, spread, a)
    notes = [f"{len(a.each)} and {len(b.each)} seeds, {a.patients} patients", *unknown]
    if not patients_known:
        notes.append(NARROW)
    half = t_quantile(spread.degrees_of_freedom) * math.sqrt(spread.variance)
    limits = UNKNOWN if unknown else (spread.value - half, spread.value + half)
    p_value = math.nan if a.lone and metric in OF_ALL_CLASSES else _p(spread, a.patients)
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
    shares = checked_probabilities(probabilities, None, None, None)
    if len(shares) < 2:
        raise StatisticsError(
            f"{len(shares)} seed has no spread", "train under two or more, as with --replicates 3"
        )
    samples = [checked_sample(labels, each, patients, positive) for each in shares]
    scorers = {
        str(k): scorer(metric, s.labels, s.probabilities, positive) for k, s in enumerate(samples)
    }
    once = np.ones((1, shares.shape[1]))
    scores = np.array([float(score(once)[0]) for score in scorers.values()])
    rng = np.random.default_rng(seed)
    first = samples[0]
    drawn = bootstrap(scorers, first.codes, first.patients, resamples=resamples, rng=rng)
    resampled = np.stack(list(drawn.values()), axis=1)
    return _Scores(scores, resampled, first.patients, first.lone)


def _why_unknown(metric: str, spread: _Spread, found: _Scores) -> list[str]:
    """Why there is no interval; nothing where there is one."""
    if found.lone and metric in OF_ALL_CLASSES:
        return ["a class has one patient: no interval"]
    return ["no seed and no patient moves it: no interval"] if spread.still else []


def _spread(scores: Floats, resampled: Floats, patients: int) -> _Spread:
    """The mean over seeds with its variance; of scores or of paired differences."""
    seeds = len(scores)
    over_seeds = float(scores.var(ddof=1)) / seeds
    over_patients = _bootstrap_variance(resampled.mean(axis=1), patients)
    # One seed's variance over patients holds seeds x patients whole, the mean's a part of it.
    of_one_seed = float(np.mean([_bootstrap_variance(column, patients) for column in resampled.T]))
    twice = max(0.0, of_one_seed - over_patients) / (seeds - 1)
    variance = max(over_seeds + over_patients - twice, over_seeds, over_patients)
    return _satterthwaite(
        float(scores.mean()), variance, [(over_seeds, seeds - 1), (over_patients, patients - 1)]
    )


def _unpaired(a: Floats, b: Floats, drawn_a: Floats, drawn_b: Floats, patients: int) -> _Spread:
    variances = [(float(s.var(ddof=1)) / len(s), len(s) - 1) for s in (a, b)]
    difference = drawn_a.mean(axis=1) - drawn_b.mean(axis=1)
    parts = [*variances, (_bootstrap_variance(difference, patients), patients - 1)]
    # What seeds and patients both count is left in: a little too wide.
    return _satterthwaite(float(a.mean() - b.mean()), sum(v for v, _ in parts), parts)


def _bootstrap_variance(values: Floats, patients: int) -> float:
    return float(np.nanvar(values, ddof=1)) * patients / (patients - 1)


def _satterthwaite(value: float, variance: float, parts: list[tuple[float, int]]) -> _Spread:
    below = sum(part**2 / freedom for part, freedom in parts)
    least = min(freedom for _, freedom in parts)
    return _Spread(value, variance, max(variance**2 / below, least) if below > 0 else least)


def _limits(metric: str, spread: _Spread) -> Limits:
    quantile, error = t_quantile(spread.degrees_of_freedom), math.sqrt(spread.variance)
    if metric not in LOWER_IS_BETTER and 0 < spread.value < 1:
        return logit_interval(spread.value, error, quantile)
    most = math.inf if metric in LOWER_IS_BETTER else 1.0
    low, high = spread.value - quantile * error, spread.value + quantile * error
    return max(0.0, low), min(most, high)


def _p(spread: _Spread, patients: int) -> float:
    if spread.still:
        return 1.0 if abs(spread.value) < ROUNDING else 2.0 ** (1 - patients)
    t = abs(spread.value) / math.sqrt(spread.variance)
    return float(2 * stats.t.sf(t, spread.degrees_of_freedom))
