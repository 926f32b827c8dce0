"""Proportions of images and their limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from tests.data_factory import examples
from tune_bio.analysis.statistics.proportions import wilson


@examples
@given(st.integers(30, 300), st.floats(0, 1), st.integers(0, 2**32))
def test_one_image_per_patient_gives_the_plain_wilson_interval(
    n: int, share: float, seed: int
) -> None:
    hits = (np.random.default_rng(seed).random(n) < share).astype(float)
    value, limits = wilson(hits, np.arange(n))
    effective = n - 1  # the n / (n - 1) of the cluster-robust variance
    expected = proportion_confint(value * effective, effective, method="wilson")
    assert value == hits.mean()
    assert limits == pytest.approx(expected, abs=1e-12)


@examples
@given(st.integers(2, 60), st.integers(2, 5), st.floats(0, 1), st.integers(0, 2**32))
def test_copies_of_images_change_nothing(n: int, times: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    hits = (rng.random(n) < share).astype(float)
    codes = rng.integers(0, n, n)
    single = wilson(hits, codes)
    repeated = wilson(np.repeat(hits, times), np.repeat(codes, times))
    assert repeated[0] == pytest.approx(single[0])
    assert repeated[1] == pytest.approx(single[1])


@examples
@given(st.integers(2, 60), st.integers(1, 20), st.sampled_from([0.0, 1.0]))
def test_a_proportion_of_0_or_1_has_an_interval(n: int, patients: int, share: float) -> None:
    value, (low, high) = wilson(np.full(n, share), np.arange(n) % patients)
    assert value == share
    assert 0 <= low <= share <= high <= 1
    assert high - low > 1 / (n + 4)


def test_correlated_images_widen_the_interval() -> None:
    codes = np.repeat(np.arange(50), 4)
    correlated = np.repeat(np.arange(50) % 5 > 0, 4).astype(float)
    independent = np.tile(np.arange(200) % 5 > 0, 1).astype(float)
    widths = [
        high - low for _, (low, high) in (wilson(correlated, codes), wilson(independent, codes))
    ]
    assert widths[0] > 1.8 * widths[1]
