"""What a statistic is told as, and how limits are put together."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from tune_bio.analysis.statistics.arrays import Floats

LEVEL = 0.95
Z = float(stats.norm.ppf((1 + LEVEL) / 2))
Limits = tuple[float, float]
UNKNOWN: Limits = (math.nan, math.nan)
ROUNDING = 1e-9  # of a score: sums in another order differ by less
NARROW = "patients unknown: the interval may be too narrow"


@dataclass(frozen=True)
class Estimate:
    """One figure with its 95 % interval; NaN stands for what is not defined.

    `chance` is what a model without any knowledge of the images reaches (None where there is no
    such figure), `method` how the interval was made, `note` what a reader must know.
    """

    metric: str
    value: float
    low: float
    high: float
    method: str
    chance: float | None = None
    note: str = ""


def t_quantile(degrees_of_freedom: float) -> float:
    """The two-sided 95 % quantile of Student's t."""
    return float(stats.t.ppf((1 + LEVEL) / 2, degrees_of_freedom))


def expanded_percentiles(values: Floats, patients: int) -> Limits:
    """Percentile interval of bootstrap values, (resamples,); undefined ones (NaN) are left out.

    The percentiles are moved outwards as far as t with `patients` - 1 degrees of freedom and the
    divisor n - 1 ask for: the plain ones are too narrow for few patients (Hesterberg 2015, What
    teachers should know about the bootstrap, The American Statistician 69:371, section 4.4).
    """
    defined = values[~np.isnan(values)]
    if 2 * len(defined) < len(values):
        return UNKNOWN
    tail = stats.norm.cdf(-math.sqrt(patients / (patients - 1)) * t_quantile(patients - 1))
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def logit_interval(value: float, standard_error: float, quantile: float) -> Limits:
    """Limits of a fraction inside (0, 1), symmetric on the logit scale."""
    half = quantile * standard_error / (value * (1 - value))
    low, high = special.expit(special.logit(value) + np.array([-half, half]))
    return float(low), float(high)


def mean_of_independent(values: Floats, limits: list[Limits]) -> Limits:
    """Limits of a mean of independent figures from theirs, which may stand at 0 or 1.

    The method of variance estimates recovery: Zou & Donner 2008, Construction of confidence limits
    about effect measures: a general approach, Statistics in Medicine 27:1693.
    """
    low, high = np.array(limits).T
    mean, count = float(values.mean()), len(values)
    down = math.sqrt(float(((values - low) ** 2).sum())) / count
    up = math.sqrt(float(((high - values) ** 2).sum())) / count
    return max(0.0, mean - down), min(1.0, mean + up)


def ratio_of_independent(above: float, over: Limits, below: float, under: Limits) -> Limits:
    """Limits of `above` / `below` from theirs, both fractions; the upper one may be infinite.

    The method of variance estimates recovery for ratios: Donner & Zou 2012, Closed-form confidence
    intervals for functions of the normal mean and standard deviation, Statistical Methods in
    Medical Research 21:347; rewritten so that either may be 0.
    """
    product = above * below
    lower_above = over[0] * (2 * above - over[0])
    upper_above = over[1] * (2 * above - over[1])
    lower_below = under[0] * (2 * below - under[0])
    upper_below = under[1] * (2 * below - under[1])
    low_root = math.sqrt(max(0.0, product**2 - lower_above * upper_below))
    high_root = math.sqrt(max(0.0, product**2 - upper_above * lower_below))
    low = lower_above / (product + low_root) if product + low_root > 0 else 0.0
    high = (product + high_root) / lower_below if lower_below > 0 else math.inf
    return low, high
