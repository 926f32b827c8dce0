"""What is each choice of the winner worth? One change at a time, each against the winner."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from tune_bio.analysis.statistics.intervals import LEVEL
from tune_bio.errors import StatisticsError


@dataclass(frozen=True)
class ChangeEffect:
    """The mean score of a change less the winner's, in units of the score.

    `low` and `high` hold for all changes at once with 95 % confidence, and `p_value` is corrected
    alike (Dunnett). `verdict`: "worse", "better", or "cannot be told apart".
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
    """Each change of a winner against it, in the order given.

    Dunnett's simultaneous comparisons with one control, for noise of one size: Dunnett 1955, A
    multiple comparison procedure for comparing several treatments with a control, Journal of the
    American Statistical Association 50:1096. Shared seeds are taken for independent ones: where a
    seed helps the winner and its changes alike, the limits are a little too wide.

    Args:
        winner: (seeds,) its scores.
        changes: (seeds,) of each change, two at least.
        lower_is_better: whether a smaller score is better.
        seed: of the integration, whose error is about 1e-3 of a limit.

    Raises:
        StatisticsError: a group with fewer than two scores, or scores without any noise.
    """
    groups = [np.asarray(group, dtype=np.float64) for group in (winner, *changes)]
    if any(len(group) < 2 for group in groups):
        raise StatisticsError(
            "a change or the winner has fewer than two scores", "train under two seeds or more"
        )
    if not changes:
        return []
    if all(np.ptp(group) == 0 for group in groups):
        raise StatisticsError(
            "no seed moves any score", "without noise nothing is to be compared with it"
        )
    control, *samples = groups
    rng = np.random.default_rng(seed)
    found = stats.dunnett(*samples, control=control, rng=rng)
    limits = found.confidence_interval(LEVEL)
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
        for sample, low, high, p in zip(samples, lows, highs, found.pvalue, strict=True)
    ]


def _verdict(low: float, high: float, lower_is_better: bool) -> str:
    if low <= 0 <= high:
        return "cannot be told apart"
    return "better" if (low > 0) != lower_is_better else "worse"
