"""Weighted metrics against scikit-learn and statsmodels."""

import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from scipy.optimize import brentq
from sklearn.metrics import average_precision_score, brier_score_loss

from tests.analysis.statistics.sample_factory import Case, cases, study
from tests.data_factory import examples
from tune_bio.analysis.statistics.scoring import METRICS, recalibration, score, scorer
from tune_bio.errors import StatisticsError
from tune_bio.training import metrics


@examples
@given(cases(), st.integers(0, 1))
def test_each_metric_agrees_with_scikit_learn(case: Case, positive: int) -> None:
    labels, p = case.labels, case.probabilities
    expected = metrics.compute_metrics(labels, p, positive)
    ours = {name: score(name, labels, p, positive) for name in METRICS}
    if case.classes == 2:
        expected["auprc"] = average_precision_score(labels == positive, p[:, positive])
        expected["brier"] = brier_score_loss(labels == positive, p[:, positive])
    else:
        areas = [average_precision_score(labels == k, p[:, k]) for k in range(case.classes)]
        expected["auprc"] = np.mean(areas)
        expected["brier"] = brier_score_loss(labels, p, labels=range(case.classes))
    assert ours == pytest.approx(expected)


@examples
@given(cases(), st.integers(0, 2**32), st.sampled_from(METRICS))
def test_a_weight_is_the_number_of_times_an_image_counts(
    case: Case, seed: int, metric: str
) -> None:
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(case.labels)))
    values = scorer(metric, case.labels, case.probabilities, 1)(weights.astype(float))
    defined = 0
    for times, value in zip(weights, values, strict=True):
        repeated = np.repeat(np.arange(len(times)), times)
        labels, p = case.labels[repeated], case.probabilities[repeated]
        if len(np.unique(labels)) == case.classes:
            defined += 1
            assert value == pytest.approx(score(metric, labels, p, 1))
        elif metric in ("balanced_accuracy", "macro_f1") or (
            metric == "auroc" and case.classes == 2
        ):
            assert np.isnan(value)
    assert defined or len(case.labels) < 30


def test_an_unknown_metric_is_refused() -> None:
    case = study(0)
    with pytest.raises(StatisticsError, match="unknown metric 'f2': known: loss"):
        scorer("f2", case.labels, case.probabilities, 1)


@pytest.mark.parametrize("sharper", [0.1, 1, 4, 30])
@pytest.mark.parametrize("seed", range(5))
def test_recalibration_agrees_with_the_logistic_regression_of_statsmodels(
    seed: int, sharper: float
) -> None:
    case = study(seed)
    p = special.expit(sharper * special.logit(case.probabilities[:, 1]))
    logit = special.logit(np.clip(p, 1e-7, 1 - 1e-7))
    weights = np.random.default_rng(seed).integers(0, 3, (4, len(p))).astype(float)
    both = recalibration(case.labels, p, slope=True)(weights)
    large = recalibration(case.labels, p, slope=False)(weights)
    for w, coefficients, offset in zip(weights, both, large, strict=True):
        model = {"family": sm.families.Binomial(), "freq_weights": w}
        fitted = sm.GLM(case.labels, sm.add_constant(logit), **model).fit()
        assert coefficients == pytest.approx(fitted.params, rel=1e-5)
        fixed = sm.GLM(case.labels, np.ones(len(p)), offset=logit, **model).fit()
        assert offset == pytest.approx([fixed.params[0], 1.0], rel=1e-5)


def test_separable_classes_have_no_slope() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    p = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(recalibration(labels, p, slope=True)(np.ones((2, 6)))).all()


def test_one_probability_for_all_images_has_no_slope() -> None:
    labels, p = np.array([0, 0, 0, 1]), np.full(4, 0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(recalibration(labels, p, slope=True)(np.ones((2, 4)))).all()
        large = recalibration(labels, p, slope=False)(np.ones((2, 4)))
    assert large[:, 0] == pytest.approx(special.logit(0.25) - special.logit(0.4))


@pytest.mark.parametrize(
    "counts", [(3, 0, 13, 87), (30, 29, 4, 6), (7, 2, 21, 3), (1, 1, 1, 1), (5, 40, 1, 2)]
)
def test_calibration_in_the_large_is_defined_if_both_classes_occur(
    counts: tuple[int, int, int, int],
) -> None:
    """Probabilities are all 0 or 1; `counts` are the TP, FN, FP and TN."""
    truth = np.repeat([1, 1, 0, 0], counts)
    predicted = np.repeat([1.0, 0.0, 1.0, 0.0], counts)
    logit = special.logit(np.clip(predicted, 1e-7, 1 - 1e-7))
    (coefficients,) = recalibration(truth, predicted, slope=False)(np.ones((1, len(truth))))
    expected = brentq(lambda a: float((truth - special.expit(a + logit)).sum()), -40, 40)
    assert coefficients[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("weight", [1, 3])
@pytest.mark.parametrize(
    ("counts", "levels"),
    [
        ((3, 0, 0, 9), (1.0, 0.0)),  # all right
        ((0, 14, 12, 14), (1.0, 0.0)),  # both classes are on the border
        ((20, 0, 20, 0), (0.6, 0.6)),  # one answer, and equally many of each class
        ((20, 0, 10, 0), (1.0, 1.0)),
    ],
)
def test_classes_separated_by_a_border_have_no_slope(
    counts: tuple[int, int, int, int], levels: tuple[float, float], weight: int
) -> None:
    truth = np.repeat([1, 1, 0, 0], counts)
    predicted = np.repeat([levels[0], levels[1], levels[0], levels[1]], counts)
    weights = np.full((2, len(truth)), float(weight))
    assert np.isnan(recalibration(truth, predicted, slope=True)(weights)).all()
