"""Noise floor of the scores of a grid."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.data_factory import few_examples
from tune_bio.analysis.statistics import noise_floor
from tune_bio.errors import StatisticsError


def grid(cells: int, seeds: int, sd: float, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    cell = np.repeat(np.arange(cells), seeds)
    return pd.DataFrame({"config_id": cell, "score": cell / 10 + rng.normal(0, sd, len(cell))})


@few_examples
@given(st.integers(1, 20), st.integers(2, 6), st.integers(0, 2**32))
def test_the_noise_floor_is_the_residual_of_a_one_way_analysis_of_variance(
    cells: int, seeds: int, seed: int
) -> None:
    table = grid(cells, seeds, 0.02, seed)
    floor = noise_floor(table)
    residual = table["score"] - table.groupby("config_id")["score"].transform("mean")
    dof = cells * (seeds - 1)
    assert floor.degrees_of_freedom == dof
    assert floor.sd == pytest.approx(np.sqrt((residual**2).sum() / dof))
    # At the bound, a standard deviation as small as the observed one has a probability of 5 %.
    ratio = dof * floor.sd**2 / floor.upper**2
    assert stats.chi2.cdf(ratio, dof) == pytest.approx(0.05)
    assert ("degrees of freedom" in floor.note) == (dof < 10)


def test_single_trials_and_lost_scores_do_not_count() -> None:
    table = grid(5, 3, 0.02)
    extended = pd.concat([table, pd.DataFrame({"config_id": [7, 8], "score": [0.1, np.nan]})])
    assert noise_floor(extended) == noise_floor(table)
    with pytest.raises(StatisticsError, match="no configuration was trained with two seeds"):
        noise_floor(grid(5, 1, 0.02))


def test_the_bound_holds_in_95_percent() -> None:
    covered = sum(noise_floor(grid(5, 3, 0.02, seed)).upper >= 0.02 for seed in range(400))
    assert stats.binomtest(covered, 400, 0.95).pvalue > 0.001
