"""Ablation of the winner: one change at a time, each compared with the winner."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from tune_bio.analysis.statistics.intervals import LEVEL
from tune_bio.errors import StatisticsError


@dataclass(frozen=True)
class ChangeEffect:
    """Scores after one change of the winner, compared with the winner's, in units of the score.

    `difference` is the `mean` after the change minus the winner's mean. `low` and `high` hold
    simultaneously for all changes with 95 % confidence, and `p_value` is corrected accordingly
    (Dunnett). `verdict` is "worse", "better" or "cannot be distinguished".
    """

    mean: float
    difference: float
    low: float
    high: float
    p_value: float
    seeds: int
    verdict: str


def ablation(
    winner: npt.ArrayLike,
    changes: Sequence[npt.ArrayLike],
    *,
    lower_is_better: bool = False,
    seed: int,
) -> list[ChangeEffect]:
    """Compare each change of a winner with the winner, in the order given.

    Dunnett's simultaneous comparisons with one control, for noise of equal size in all groups:
    Dunnett 1955, A multiple comparison procedure for comparing several treatments with a control,
    Journal of the American Statistical Association 50:1096. Shared seeds are treated as
    independent: where a seed helps the winner and its changes alike, the limits are slightly too
    wide.

    Args:
        winner: (seeds,) scores of the winner.
        changes: for each change, its scores (seeds,), at least two.
        lower_is_better: True if a lower score is better.
        seed: seed of the numerical integration, whose error is about 1e-3 of a limit.

    Raises:
        StatisticsError: a group has fewer than two scores, or no score varies between seeds.
    """
    groups = [np.asarray(group, dtype=np.float64) for group in (winner, *changes)]
    if any(len(group) < 2 for group in groups):
        raise StatisticsError(
            "a change or the winner has fewer than two scores", "train with at least two seeds"
        )
    if not changes:
        return []
    if all(np.ptp(group) == 0 for group in groups):
        raise StatisticsError(
            "no score varies between seeds", "differences are tested against that variation"
        )
    control, *samples = groups
    rng = np.random.default_rng(seed)
    result = stats.dunnett(*samples, control=control, rng=rng)
    limits = result.confidence_interval(LEVEL)
    lows, highs = np.atleast_1d(limits.low).tolist(), np.atleast_1d(limits.high).tolist()
    return [
        ChangeEffect(
            float(sample.mean()),
            float(sample.mean() - control.mean()),
            low,
            high,
            float(p),
            len(sample),
            _verdict(low, high, lower_is_better),
        )
        for sample, low, high, p in zip(samples, lows, highs, result.pvalue, strict=True)
    ]


def _verdict(low: float, high: float, lower_is_better: bool) -> str:
    if low <= 0 <= high:
        return "cannot be distinguished"
    return "better" if (low > 0) != lower_is_better else "worse"
