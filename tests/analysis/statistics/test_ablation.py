"""Comparison of a winner with one change of it at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tune_bio.analysis.statistics import ChangeEffect, ablation
from tune_bio.errors import StatisticsError


def scores(seed: int, *means: float, seeds: int = 5) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    return [(mean + rng.normal(0, 0.01, seeds)).tolist() for mean in means]


def test_a_planted_loss_and_a_planted_gain_are_found() -> None:
    winner, *changes = scores(0, 0.8, 0.7, 0.8, 0.9)
    worse, same, better = ablation(winner, changes, seed=0)
    assert [effect.verdict for effect in (worse, same, better)] == [
        "worse",
        "cannot be distinguished",
        "better",
    ]
    assert worse.low < -0.1 < worse.high < 0
    assert worse.mean == pytest.approx(np.mean(changes[0]))
    assert worse.p_value < 0.001 < same.p_value
    as_losses = ablation(winner, changes, lower_is_better=True, seed=0)
    assert [e.verdict for e in as_losses] == ["better", "cannot be distinguished", "worse"]


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_a_single_change_is_compared_by_students_t_test(seed: int) -> None:
    winner, change = scores(seed, 0.8, 0.81)
    (effect,) = ablation(winner, [change], seed=0)
    expected = stats.ttest_ind(change, winner)
    limits = expected.confidence_interval(0.95)
    assert effect.p_value == pytest.approx(expected.pvalue, abs=2e-3)
    assert (effect.low, effect.high) == pytest.approx((limits.low, limits.high), abs=2e-4)


def test_changes_without_effect_are_called_different_in_5_percent_of_ablations() -> None:
    def finds_an_effect(seed: int) -> bool:
        winner, *changes = scores(seed, *[0.8] * 7, seeds=3)
        return any(
            effect.verdict != "cannot be distinguished"
            for effect in ablation(winner, changes, seed=0)
        )

    false_positives = sum(map(finds_an_effect, range(40)))
    assert false_positives <= 6  # of 40 at 5 %, with a probability of 0.99


def test_groups_may_have_different_numbers_of_seeds() -> None:
    winner, change, other = scores(1, 0.8, 0.7, 0.8)
    first, _ = ablation(winner, [change[:2], other], seed=0)
    assert isinstance(first, ChangeEffect)
    assert first.seeds == 2


def test_too_few_scores_or_no_noise_are_refused() -> None:
    with pytest.raises(StatisticsError, match="fewer than two scores"):
        ablation([0.8, 0.9], [[0.8]], seed=0)
    with pytest.raises(StatisticsError, match="no score varies between seeds"):
        ablation([0.8, 0.8], [[0.7, 0.7]], seed=0)
    assert ablation([0.8, 0.9], [], seed=0) == []
