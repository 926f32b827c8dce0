"""How good is a setting, whatever the seed? Means over seeds, with patients in the variance too."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from tune_bio.analysis.statistics.arrays import Floats, checked_probabilities
from tune_bio.analysis.statistics.intervals import Estimate, Limits, logit_interval, t_quantile
from tune_bio.analysis.statistics.resampling import bootstrap
from tune_bio.analysis.statistics.sample import checked_sample
from tune_bio.analysis.statistics.scoring import LOWER_IS_BETTER, scorer
from tune_bio.errors import StatisticsError

METHOD = "t, variance of seeds and of patients"


@dataclass(frozen=True)
class Difference:
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
    scores, resampled, count = _scores(
        labels, probabilities, patients, metric, positive, seed, resamples
    )
    spread = _spread(scores, resampled, count)
    note = f"{len(scores)} seeds, {count} patients"
    if not patients_known:
        note += "; patients unknown: the interval may be too narrow"
    return Estimate(metric, spread.value, *_limits(metric, spread), METHOD, None, note)


def compare_settings(
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
) -> Difference:
    """Is setting a better than setting b, for other seeds and other patients?

    As `mean_over_seeds`, of the difference. The same patients are drawn for both. `paired`: the
    k-th seed of both is one (it shares what the seed decides), so differences vary over seeds;
    otherwise each setting's scores do. Two-sided p-value of t.

    Args:
        labels, patients, metric, positive, patients_known, seed, resamples: as there.
        probabilities_a: (seeds, n, classes) of the one setting; `probabilities_b` of the other,
            with as many seeds where `paired`.

    Raises:
        StatisticsError: fewer than two seeds, seeds that do not pair, or arrays that do not fit.
    """
    given = (patients, metric, positive, seed, resamples)
    a, drawn_a, count = _scores(labels, probabilities_a, *given)
    b, drawn_b, _ = _scores(labels, probabilities_b, *given)
    if paired and len(a) != len(b):
        raise StatisticsError(
            f"{len(a)} and {len(b)} seeds do not pair", "compare the seeds that both have"
        )
    if paired:
        spread = _spread(a - b, drawn_a - drawn_b, count)
    else:
        spread = _unpaired(a, b, drawn_a, drawn_b, count)
    note = f"{len(a)} and {len(b)} seeds, {count} patients"
    if not patients_known:
        note += "; patients unknown: the interval may be too narrow"
    error = math.sqrt(spread.variance)
    half = t_quantile(spread.degrees_of_freedom) * error
    return Difference(
        metric, spread.value, spread.value - half, spread.value + half, _p(spread), METHOD, note
    )


def _scores(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    patients: npt.NDArray[Any],
    metric: str,
    positive: int,
    seed: int,
    resamples: int,
) -> tuple[Floats, Floats, int]:
    """Scores (seeds,), the same on bootstrap samples (resamples, seeds), how many patients."""
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
    return scores, np.stack(list(drawn.values()), axis=1), first.patients


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
    return spread.value - quantile * error, spread.value + quantile * error


def _p(spread: _Spread) -> float:
    if spread.variance == 0:
        return 1.0 if spread.value == 0 else 0.0
    t = abs(spread.value) / math.sqrt(spread.variance)
    return float(2 * stats.t.sf(t, spread.degrees_of_freedom))
