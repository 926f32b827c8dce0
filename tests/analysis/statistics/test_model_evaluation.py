"""Evaluation of one model: every metric with its interval."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score
from statsmodels.stats.proportion import proportion_confint

from tests.analysis.statistics.sample_factory import Case, cases, study
from tests.data_factory import few_examples
from tune_bio.analysis.statistics import Estimate, evaluate_model
from tune_bio.errors import StatisticsError
from tune_bio.training import metrics

TWO_CLASSES = [
    "accuracy", "balanced_accuracy", "macro_f1", "loss", "brier", "auroc", "auprc", "sensitivity",
    "specificity", "ppv", "npv", "calibration_slope", "calibration_intercept",
    "calibration_in_the_large", "ece",
]  # fmt: skip
SHARED = TWO_CLASSES[:7]


def evaluated(case: Case, **changes: Any) -> dict[str, Estimate]:
    """Return the estimates by metric."""
    names = [f"class {k}" for k in range(case.classes)]
    kwargs = {"classes": names, "positive": 1, "seed": 0, "resamples": 200} | changes
    estimates = evaluate_model(case.labels, case.probabilities, case.patients, **kwargs)
    by_name = {estimate.metric: estimate for estimate in estimates}
    assert len(by_name) == len(estimates)
    return by_name


@few_examples
@given(cases(), st.floats(0.1, 0.9))
def test_values_agree_with_the_epochs_table_and_scikit_learn(case: Case, threshold: float) -> None:
    estimates = evaluated(case, threshold=threshold)
    for name, value in metrics.compute_metrics(case.labels, case.probabilities, 1).items():
        assert estimates[name].value == pytest.approx(value)
    if case.classes == 2:
        called = case.probabilities[:, 1] >= threshold
        undefined = {"zero_division": np.nan}
        expected = {
            "sensitivity": recall_score(case.labels, called),
            "specificity": recall_score(case.labels, called, pos_label=0),
            "ppv": precision_score(case.labels, called, **undefined),
            "npv": precision_score(case.labels, called, pos_label=0, **undefined),
        }
    else:
        called = case.probabilities.argmax(axis=1)
        recalls = recall_score(case.labels, called, average=None, labels=range(case.classes))
        expected = {f"sensitivity:class {k}": value for k, value in enumerate(recalls)}
    for name, value in expected.items():
        assert estimates[name].value == pytest.approx(value, nan_ok=True)


@few_examples
@given(cases(classes=(2, 2)))
def test_limits_are_fractions_and_have_a_width(case: Case) -> None:
    for name, estimate in evaluated(case, prevalence=0.1).items():
        if name.startswith("calibration") or name in ("ece", "loss", "brier"):
            continue
        if math.isnan(estimate.low):
            reasons = "lack a class" in estimate.note or "a class has one patient" in estimate.note
            assert reasons or estimate.method == "none: resampling patients shows nothing"
            continue
        assert 0 <= estimate.low <= 1
        assert 0 <= estimate.high <= 1
        assert estimate.high > estimate.low
        if estimate.method != "bootstrap over patients, expanded percentiles":
            assert math.isnan(estimate.value) or estimate.low <= estimate.value <= estimate.high


def test_the_metrics_for_two_classes_and_for_more() -> None:
    assert list(evaluated(study(0))) == TWO_CLASSES
    assert "ppv_at_prevalence" in evaluated(study(0), prevalence=0.2)
    of_classes = [
        f"{name}:class {k}" for k in range(3) for name in ("sensitivity", "specificity", "auroc")
    ]
    assert list(evaluated(study(0, classes=3))) == [*SHARED, *of_classes, "ece"]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("right", [True, False])
def test_a_model_that_is_always_right_or_wrong_has_intervals(classes: int, right: bool) -> None:
    case = study(0, classes=classes)
    answers = np.eye(classes)[case.labels if right else (case.labels + 1) % classes]
    estimates = evaluated(Case(case.labels, answers, case.patients), prevalence=0.1)
    fractions = {name for name in SHARED if name not in ("loss", "brier")}
    fractions |= {n for n in estimates if n[:4] in ("sens", "spec", "auro", "ppv", "npv")}
    for name in fractions:
        if 0 < estimates[name].value < 1:
            continue  # the areas of a model that is always wrong about three classes
        assert 0.001 < estimates[name].high - estimates[name].low < 0.7, name
        if right:
            assert estimates[name].value == estimates[name].high == 1
    assert estimates["brier"].high - estimates["brier"].low > 0.02
    assert math.isnan(estimates["loss"].low)


@pytest.mark.parametrize("classes", [2, 3])
def test_copies_order_and_patient_names_change_no_interval(classes: int) -> None:
    case = study(1, classes=classes)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(case.labels)), 3))
    # Names that sort as the numbers do, so that the bootstrap draws the same patients.
    names = np.array([f"patient {k:04d}" for k in case.patients])
    copied = Case(case.labels[order], case.probabilities[order], names[order])
    for first, second in zip(evaluated(case).values(), evaluated(copied).values(), strict=True):
        pair = [(e.value, e.low, e.high, e.chance or 0.0) for e in (first, second)]
        assert pair[1] == pytest.approx(pair[0], abs=1e-6, nan_ok=True)


def test_the_seed_decides_only_the_bootstrap() -> None:
    first, same, other = (evaluated(study(0), seed=seed) for seed in (0, 0, 1))
    assert repr(first) == repr(same)
    changed = {name for name in first if repr(first[name]) != repr(other[name])}
    assert changed >= {"balanced_accuracy", "auprc", "calibration_slope"}
    assert not changed & {"accuracy", "auroc", "sensitivity", "ppv", "ece"}


def test_predictive_values_at_a_prevalence_follow_from_bayes() -> None:
    estimates = evaluated(study(0), prevalence=0.05)
    se, sp = estimates["sensitivity"].value, estimates["specificity"].value
    ppv, npv = estimates["ppv_at_prevalence"], estimates["npv_at_prevalence"]
    assert ppv.value == pytest.approx(se * 0.05 / (se * 0.05 + (1 - sp) * 0.95))
    assert npv.value == pytest.approx(sp * 0.95 / (sp * 0.95 + (1 - se) * 0.05))
    assert ppv.low < ppv.value < ppv.high < estimates["ppv"].low
    assert npv.low < npv.value < npv.high
    observed = float((study(0).labels == 1).mean())
    same = evaluated(study(0), prevalence=observed)
    assert same["ppv_at_prevalence"].value == pytest.approx(same["ppv"].value)


def test_a_constant_model_reaches_the_values_by_chance() -> None:
    labels = np.array([0] * 30 + [1] * 10)
    constant = Case(labels, np.tile([0.75, 0.25], (40, 1)), np.arange(40))
    estimates = evaluated(constant)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "loss", "brier", "auroc", "auprc"):
        assert estimates[name].value == pytest.approx(estimates[name].chance), name
    # It calls nothing positive; neither does calling as many at random.
    assert (estimates["sensitivity"].chance, estimates["specificity"].chance) == (0, 1)
    assert math.isnan(estimates["ppv"].value)
    assert (estimates["ppv"].low, estimates["ppv"].high) == (0, 1)
    assert "no image to count" in estimates["ppv"].note
    assert estimates["npv"].value == estimates["npv"].chance == 0.75


def test_every_estimate_notes_unknown_patients() -> None:
    for estimate in evaluated(study(0), patients_known=False).values():
        assert "may be too narrow" in estimate.note
    assert not any("narrow" in e.note for e in evaluated(study(0)).values())
    few = evaluated(study(0, patients=20))["macro_f1"]
    assert few.note == "only 20 patients"


def test_accuracy_with_one_image_per_patient_has_wilsons_interval() -> None:
    case = study(0, patients=200)
    single = Case(case.labels, case.probabilities, np.arange(len(case.labels)))
    accuracy = evaluated(single)["accuracy"]
    n = len(case.labels)
    expected = proportion_confint(accuracy.value * n, n, method="wilson")
    assert (accuracy.low, accuracy.high) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"labels": np.zeros(6, int)}, "no image has the class number 1"),
        ({"labels": np.array([0, 1, 2, 0, 1, 2])}, "a label is outside 0 ... 1"),
        ({"labels": np.ones(6)}, "not class indices"),
        ({"labels": np.array([0, 1])}, "6 rows of probabilities do not belong to 2 images"),
        ({"patients": np.zeros(6)}, "all images are of one patient"),
        ({"patients": np.zeros(5)}, "patients do not belong to 6 images"),
        ({"probabilities": np.full((6, 1), 0.5)}, "do not belong to these images"),
        ({"probabilities": np.full((6, 2), np.nan)}, "not all between 0 and 1"),
        ({"classes": ["a"]}, "1 names do not fit 2 classes"),
        ({"positive": 2}, "there is no class number 2"),
        ({"prevalence": 1.0}, "a prevalence of 1 is not possible"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, Any], fault: str) -> None:
    kwargs = {
        "labels": np.array([0, 1] * 3),
        "probabilities": np.full((6, 2), 0.5),
        "patients": np.arange(6),
        "classes": ["a", "b"],
        "positive": 1,
        "seed": 0,
    } | changes
    arrays = [kwargs.pop(name) for name in ("labels", "probabilities", "patients")]
    with pytest.raises(StatisticsError, match=fault):
        evaluate_model(*arrays, **kwargs)


def test_macro_f1_is_inside_its_limits_or_has_none() -> None:
    """One answer for patients who each have an image of both classes: all resamples are equal."""
    patients = np.repeat(np.arange(20), 2)
    estimates = evaluated(Case(np.tile([0, 1], 20), np.tile([0.4, 0.6], (40, 1)), patients))
    assert estimates["macro_f1"].value == pytest.approx(1 / 3)
    assert math.isnan(estimates["macro_f1"].low)
    assert estimates["balanced_accuracy"].low < 0.5 < estimates["balanced_accuracy"].high


def test_a_class_with_one_patient_has_wide_or_no_intervals() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([1] + [0] * 40)
    p = np.clip(0.2 + 0.5 * labels + 0.1 * rng.standard_normal(41), 0.01, 0.99)
    p[-1] = 0.95  # of a patient of the negative class
    estimates = evaluated(Case(labels, np.stack([1 - p, p], axis=1), np.arange(41)))
    for name in ("auroc", "balanced_accuracy"):
        assert estimates[name].high - estimates[name].low > 0.45
    for name in ("macro_f1", "auprc", "calibration_slope", "calibration_intercept"):
        assert math.isnan(estimates[name].low)
        assert "a class has one patient" in estimates[name].note
    assert estimates["loss"].high > estimates["loss"].low  # a mean over images needs no class
