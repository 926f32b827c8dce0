"""Variance of the AUROC against the definitions, and its limits."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tests.analysis.statistics.sample_factory import Case, cases, study
from tests.data_factory import examples
from tune_bio.analysis.statistics.roc import auroc_interval, clustered_delong


def delong(truth: Any, scores: Any) -> float:
    """Return the standard error as DeLong et al. 1988 write it, from all pairs."""
    x, y = scores[truth == 1], scores[truth == 0]
    order = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    variances = order.mean(axis=1).var(ddof=1) / len(x) + order.mean(axis=0).var(ddof=1) / len(y)
    return float(np.sqrt(variances))


@examples
@given(cases(classes=(2, 2)))
def test_one_image_per_patient_gives_plain_delong(case: Case) -> None:
    scores = case.probabilities[:, 1]
    area = clustered_delong(case.labels, scores, np.arange(len(scores)))
    assert area.value == pytest.approx(roc_auc_score(case.labels, scores))
    assert area.standard_error == pytest.approx(delong(case.labels, scores), abs=1e-9)


def obuchowski(truth: Any, scores: Any, codes: Any) -> float:
    """Return the standard error as Obuchowski 1997 writes it, patient by patient."""
    x, y = scores[truth == 1], scores[truth == 0]
    order = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    area, m, n = order.mean(), len(x), len(y)
    x_codes, y_codes = codes[truth == 1], codes[truth == 0]
    s10 = s01 = s11 = 0.0
    names = np.unique(codes)
    for name in names:
        first = (order.mean(axis=1)[x_codes == name] - area).sum()
        second = (order.mean(axis=0)[y_codes == name] - area).sum()
        s10, s01, s11 = s10 + first**2, s01 + second**2, s11 + first * second
    i10, i01, i = len(np.unique(x_codes)), len(np.unique(y_codes)), len(names)
    s10 *= i10 / ((i10 - 1) * m)
    s01 *= i01 / ((i01 - 1) * n)
    s11 *= i / (i - 1)
    return float(np.sqrt(s10 / m + s01 / n + 2 * s11 / (m * n)))


@pytest.mark.parametrize("seed", range(10))
def test_several_images_per_patient_give_obuchowskis_variance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(30), rng.integers(1, 5, 30))
    truth = (rng.random(len(codes)) < 0.4).astype(int)  # patients with images of both classes
    scores = np.round(truth + rng.standard_normal(30)[codes] + rng.random(len(codes)), 1)
    area = clustered_delong(truth, scores, codes)
    assert area.standard_error == pytest.approx(obuchowski(truth, scores, codes))


@examples
@given(cases(classes=(2, 2)), st.integers(2, 4), st.integers(0, 2**32))
def test_copies_order_and_patient_numbers_change_nothing(case: Case, times: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, patients = case.probabilities[:, 1], case.patients
    value, limits = auroc_interval(case.labels, scores, patients)
    order = rng.permutation(np.repeat(np.arange(len(scores)), times))
    renamed = rng.permutation(int(patients.max()) + 1)[patients]
    copied_value, copied_limits = auroc_interval(case.labels[order], scores[order], renamed[order])
    assert copied_value == pytest.approx(value)
    assert copied_limits == pytest.approx(limits, abs=1e-6)


@examples
@given(cases(classes=(2, 2)))
def test_swapping_the_classes_mirrors_the_limits(case: Case) -> None:
    scores = case.probabilities[:, 1]
    value, (low, high) = auroc_interval(case.labels, scores, case.patients)
    swapped, (swapped_low, swapped_high) = auroc_interval(1 - case.labels, scores, case.patients)
    assert swapped == pytest.approx(1 - value)
    assert (swapped_low, swapped_high) == pytest.approx((1 - high, 1 - low), abs=1e-6)
    assert 0 <= low <= value <= high <= 1
    assert high - low > 0.01


@pytest.mark.parametrize("area", [0, 1])
def test_the_interval_of_a_perfect_order_narrows_with_more_patients(area: int) -> None:
    widths = []
    for patients in (10, 40, 160):
        truth = np.arange(patients) % 2
        scores = truth if area else 1 - truth
        value, (low, high) = auroc_interval(truth, scores.astype(float), np.arange(patients))
        assert value == area
        assert area in (low, high)
        widths.append(high - low)
    assert 0.6 > widths[0] > 3 * widths[1] > 9 * widths[2] > 0


def test_many_images_are_fast() -> None:
    case = study(0, patients=80_000)
    assert len(case.labels) > 150_000  # there are about 10^10 pairs
    value, (low, high) = auroc_interval(case.labels, case.probabilities[:, 1], case.patients)
    assert 0 < high - low < 0.02
    assert low < value < high


@pytest.mark.parametrize("images", [1, 5])
def test_the_interval_of_a_class_with_one_patient_covers(images: int) -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        truth = np.repeat([1] + [0] * 40, images)
        patients = np.repeat(np.arange(41), images)
        scores = 1.19 * truth + np.repeat(rng.standard_normal(41), images)
        low, high = auroc_interval(truth, scores, patients)[1]
        covered += low <= 0.8 <= high  # Phi(1.19 / sqrt(2))
    assert covered >= 186  # 93 %
