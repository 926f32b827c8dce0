"""The noise floor."""

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
def test_it_is_the_residual_of_a_one_way_analysis_of_variance(
    cells: int, seeds: int, seed: int
) -> None:
    table = grid(cells, seeds, 0.02, seed)
    found = noise_floor(table)
    residual = table["score"] - table.groupby("config_id")["score"].transform("mean")
    freedom = cells * (seeds - 1)
    assert found.degrees_of_freedom == freedom
    assert found.sd == pytest.approx(np.sqrt((residual**2).sum() / freedom))
    # At the bound, so small a deviation as was seen has a probability of 5 %.
    seen = freedom * found.sd**2 / found.upper**2
    assert stats.chi2.cdf(seen, freedom) == pytest.approx(0.05)
    assert ("degrees of freedom" in found.note) == (freedom < 10)


def test_single_trials_and_lost_scores_count_for_nothing() -> None:
    table = grid(5, 3, 0.02)
    more = pd.concat([table, pd.DataFrame({"config_id": [7, 8], "score": [0.1, np.nan]})])
    assert noise_floor(more) == noise_floor(table)
    with pytest.raises(StatisticsError, match="no configuration was trained under two seeds"):
        noise_floor(grid(5, 1, 0.02))


def test_the_bound_holds_in_95_percent() -> None:
    held = sum(noise_floor(grid(5, 3, 0.02, seed)).upper >= 0.02 for seed in range(400))
    assert stats.binomtest(held, 400, 0.95).pvalue > 0.001
