"""All metrics of one model."""

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


def evaluated(case: Case, **changed: Any) -> dict[str, Estimate]:
    """The estimates by name."""
    names = [f"class {k}" for k in range(case.classes)]
    given = {"classes": names, "positive": 1, "seed": 0, "resamples": 200} | changed
    found = evaluate_model(case.labels, case.probabilities, case.patients, **given)
    by_name = {estimate.metric: estimate for estimate in found}
    assert len(by_name) == len(found)
    return by_name


@few_examples
@given(cases(), st.floats(0.1, 0.9))
def test_values_are_those_of_the_epochs_table_and_of_scikit_learn(
    case: Case, threshold: float
) -> None:
    found = evaluated(case, threshold=threshold)
    for name, value in metrics.compute_metrics(case.labels, case.probabilities, 1).items():
        assert found[name].value == pytest.approx(value)
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
        each = recall_score(case.labels, called, average=None, labels=range(case.classes))
        expected = {f"sensitivity:class {k}": value for k, value in enumerate(each)}
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, nan_ok=True)


@few_examples
@given(cases(classes=(2, 2)))
def test_limits_are_fractions_and_have_a_width(case: Case) -> None:
    for name, found in evaluated(case, prevalence=0.1).items():
        if name.startswith("calibration") or name in ("ece", "loss", "brier"):
            continue
        if math.isnan(found.low):
            reasons = "lack a class" in found.note or "a class has one patient" in found.note
            assert reasons or found.method == "none: resampling patients shows nothing"
            continue
        assert 0 <= found.low <= 1
        assert 0 <= found.high <= 1
        assert found.high > found.low
        if found.method != "bootstrap over patients, expanded percentiles":
            assert math.isnan(found.value) or found.low <= found.value <= found.high


def test_what_is_given_for_two_classes_and_for_more() -> None:
    assert list(evaluated(study(0))) == TWO_CLASSES
    assert "ppv_at_prevalence" in evaluated(study(0), prevalence=0.2)
    more = [
        f"{name}:class {k}" for k in range(3) for name in ("sensitivity", "specificity", "auroc")
    ]
    assert list(evaluated(study(0, classes=3))) == [*SHARED, *more, "ece"]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("right", [True, False])
def test_a_model_that_is_always_right_or_wrong_still_leaves_doubt(
    classes: int, right: bool
) -> None:
    case = study(0, classes=classes)
    answers = np.eye(classes)[case.labels if right else (case.labels + 1) % classes]
    found = evaluated(Case(case.labels, answers, case.patients), prevalence=0.1)
    fractions = {name for name in SHARED if name not in ("loss", "brier")}
    fractions |= {n for n in found if n[:4] in ("sens", "spec", "auro", "ppv", "npv")}
    for name in fractions:
        if 0 < found[name].value < 1:
            continue  # the areas of a model that is always wrong about three classes
        assert 0.001 < found[name].high - found[name].low < 0.7, name
        if right:
            assert found[name].value == found[name].high == 1
    assert found["brier"].high - found["brier"].low > 0.02
    assert math.isnan(found["loss"].low)


@pytest.mark.parametrize("classes", [2, 3])
def test_copies_order_and_names_change_no_interval(classes: int) -> None:
    case = study(1, classes=classes)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(case.labels)), 3))
    # Names that sort as the numbers do, so that the bootstrap draws the same patients.
    names = np.array([f"patient {k:04d}" for k in case.patients])
    again = Case(case.labels[order], case.probabilities[order], names[order])
    for one, other in zip(evaluated(case).values(), evaluated(again).values(), strict=True):
        pair = [(e.value, e.low, e.high, e.chance or 0.0) for e in (one, other)]
        assert pair[1] == pytest.approx(pair[0], abs=1e-6, nan_ok=True)


def test_the_seed_decides_the_bootstrap_alone() -> None:
    one, same, other = (evaluated(study(0), seed=seed) for seed in (0, 0, 1))
    assert repr(one) == repr(same)
    changed = {name for name in one if repr(one[name]) != repr(other[name])}
    assert changed >= {"balanced_accuracy", "auprc", "calibration_slope"}
    assert not changed & {"accuracy", "auroc", "sensitivity", "ppv", "ece"}


def test_predictive_values_elsewhere_are_bayes() -> None:
    found = evaluated(study(0), prevalence=0.05)
    se, sp = found["sensitivity"].value, found["specificity"].value
    ppv, npv = found["ppv_at_prevalence"], found["npv_at_prevalence"]
    assert ppv.value == pytest.approx(se * 0.05 / (se * 0.05 + (1 - sp) * 0.95))
    assert npv.value == pytest.approx(sp * 0.95 / (sp * 0.95 + (1 - se) * 0.05))
    # Limits where one of the two is known exactly are those of the other.
    assert ppv.low < ppv.value < ppv.high < found["ppv"].low
    assert npv.low < npv.value < npv.high
    seen = float((study(0).labels == 1).mean())
    here = evaluated(study(0), prevalence=seen)
    assert here["ppv_at_prevalence"].value == pytest.approx(here["ppv"].value)


def test_what_chance_would_reach() -> None:
    labels = np.array([0] * 30 + [1] * 10)
    constant = Case(labels, np.tile([0.75, 0.25], (40, 1)), np.arange(40))
    found = evaluated(constant)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "loss", "brier", "auroc", "auprc"):
        assert found[name].value == pytest.approx(found[name].chance), name
    # It calls nothing positive, and so do as many calls at random.
    assert (found["sensitivity"].chance, found["specificity"].chance) == (0, 1)
    assert math.isnan(found["ppv"].value)
    assert (found["ppv"].low, found["ppv"].high) == (0, 1)
    assert "no image to count" in found["ppv"].note
    assert found["npv"].value == found["npv"].chance == 0.75


def test_unknown_patients_are_told_everywhere() -> None:
    for estimate in evaluated(study(0), patients_known=False).values():
        assert "may be too narrow" in estimate.note
    assert not any("narrow" in e.note for e in evaluated(study(0)).values())
    few = evaluated(study(0, patients=20))["macro_f1"]
    assert few.note == "only 20 patients"


def test_accuracy_of_single_images_is_wilsons() -> None:
    case = study(0, patients=200)
    single = Case(case.labels, case.probabilities, np.arange(len(case.labels)))
    found = evaluated(single)["accuracy"]
    n = len(case.labels)
    expected = proportion_confint(found.value * n, n, method="wilson")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"labels": np.zeros(6, int)}, "no image has the class number 1"),
        ({"labels": np.array([0, 1, 2, 0, 1, 2])}, "a label is outside 0 ... 1"),
        ({"labels": np.ones(6)}, "no class indices"),
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
def test_what_does_not_fit_is_refused(changed: dict[str, Any], fault: str) -> None:
    given = {
        "labels": np.array([0, 1] * 3),
        "probabilities": np.full((6, 2), 0.5),
        "patients": np.arange(6),
        "classes": ["a", "b"],
        "positive": 1,
        "seed": 0,
    } | changed
    arrays = [given.pop(name) for name in ("labels", "probabilities", "patients")]
    with pytest.raises(StatisticsError, match=fault):
        evaluate_model(*arrays, **given)


def test_macro_f1_is_inside_its_limits_or_has_none() -> None:
    """One answer for patients who have an image of either class: no sample of them differs."""
    patients = np.repeat(np.arange(20), 2)
    found = evaluated(Case(np.tile([0, 1], 20), np.tile([0.4, 0.6], (40, 1)), patients))
    assert found["macro_f1"].value == pytest.approx(1 / 3)
    assert math.isnan(found["macro_f1"].low)
    assert found["balanced_accuracy"].low < 0.5 < found["balanced_accuracy"].high


def test_a_class_of_one_patient_is_not_taken_for_certain() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([1] + [0] * 40)
    p = np.clip(0.2 + 0.5 * labels + 0.1 * rng.standard_normal(41), 0.01, 0.99)
    p[-1] = 0.95  # of a patient who is well
    found = evaluated(Case(labels, np.stack([1 - p, p], axis=1), np.arange(41)))
    for name in ("auroc", "balanced_accuracy"):
        assert found[name].high - found[name].low > 0.45
    for name in ("macro_f1", "auprc", "calibration_slope", "calibration_intercept"):
        assert math.isnan(found[name].low)
        assert "a class has one patient" in found[name].note
    assert found["loss"].high > found["loss"].low  # a mean over images needs no class
