"""Estimates with intervals, and the construction of limits."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from tune_bio.analysis.statistics.arrays import Floats

LEVEL = 0.95
Z = float(stats.norm.ppf((1 + LEVEL) / 2))
Limits = tuple[float, float]
UNKNOWN: Limits = (math.nan, math.nan)
ROUNDING = 1e-9  # of a score: the order of summation changes it by less
NARROW = "patients unknown: the interval may be too narrow"


@dataclass(frozen=True)
class Estimate:
    """One figure with its 95 % interval; NaN means undefined.

    `chance` is the value reached by a model without any knowledge of the images (None if there is
    no such value), `method` says how the interval was computed, and `note` holds caveats.
    """

    metric: str
    value: float
    low: float
    high: float
    method: str
    chance: float | None = None
    note: str = ""


def t_quantile(degrees_of_freedom: float) -> float:
    """Return the two-sided 95 % quantile of Student's t."""
    return float(stats.t.ppf((1 + LEVEL) / 2, degrees_of_freedom))


def expanded_percentiles(values: Floats, patients: int) -> Limits:
    """Return the percentile interval of bootstrap values (resamples,), ignoring undefined ones.

    If more than half of the values are undefined (NaN), so are the limits. The percentiles are
    expanded to match t with `patients` - 1 degrees of freedom and the divisor n - 1: plain ones are
    too narrow for few patients (Hesterberg 2015, What teachers should know about the bootstrap, The
    American Statistician 69:371, section 4.4).
    """
    defined = values[~np.isnan(values)]
    if 2 * len(defined) < len(values):
        return UNKNOWN
    tail = stats.norm.cdf(-math.sqrt(patients / (patients - 1)) * t_quantile(patients - 1))
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def logit_interval(value: float, standard_error: float, quantile: float) -> Limits:
    """Return the limits of a fraction inside (0, 1), symmetric on the logit scale."""
    half = quantile * standard_error / (value * (1 - value))
    low, high = special.expit(special.logit(value) + np.array([-half, half]))
    return float(low), float(high)


def mean_of_independent(values: Floats, limits: list[Limits]) -> Limits:
    """Return the limits of a mean of independent fractions, given the limits of each.

    The fractions may be 0 or 1. Method of variance estimates recovery (MOVER): Zou & Donner 2008,
    Construction of confidence limits about effect measures: a general approach, Statistics in
    Medicine 27:1693.
    """
    low, high = np.array(limits).T
    mean, count = float(values.mean()), len(values)
    down = math.sqrt(float(((values - low) ** 2).sum())) / count
    up = math.sqrt(float(((high - values) ** 2).sum())) / count
    return max(0.0, mean - down), min(1.0, mean + up)


def ratio_of_independent(
    numerator: float,
    numerator_limits: Limits,
    denominator: float,
    denominator_limits: Limits,
) -> Limits:
    """Return the limits of a ratio of independent fractions, given the limits of each.

    The upper limit may be infinite. Method of variance estimates recovery (MOVER) for ratios:
    Donner & Zou 2012, Closed-form confidence intervals for functions of the normal mean and
    standard deviation, Statistical Methods in Medical Research 21:347; rewritten so that either
    fraction may be 0.
    """
    product = numerator * denominator
    lower_numerator = numerator_limits[0] * (2 * numerator - numerator_limits[0])
    upper_numerator = numerator_limits[1] * (2 * numerator - numerator_limits[1])
    lower_denominator = denominator_limits[0] * (2 * denominator - denominator_limits[0])
    upper_denominator = denominator_limits[1] * (2 * denominator - denominator_limits[1])
    low_root = math.sqrt(max(0.0, product**2 - lower_numerator * upper_denominator))
    high_root = math.sqrt(max(0.0, product**2 - upper_numerator * lower_denominator))
    low = lower_numerator / (product + low_root) if product + low_root > 0 else 0.0
    high = (product + high_root) / lower_denominator if lower_denominator > 0 else math.inf
    return low, high
