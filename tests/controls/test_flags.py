"""Flags are raised for doubtful results, and not for similar ones that are sound."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tune_bio.controls import flags
from tune_bio.controls.flags import Flag


def kind(flag: Flag | None) -> str | None:
    return None if flag is None else flag.kind


@pytest.mark.parametrize(
    ("accuracy", "auroc", "raised"),
    [(1.0, 1.0, True), (1.0, 0.99, True), (0.97, 1.0, True), (0.999, 0.9999, False)],
)
def test_100_percent_on_test_is_flagged(accuracy: float, auroc: float, raised: bool) -> None:
    flag = flags.perfect_test("trial_1", accuracy, auroc, 300)
    assert kind(flag) == ("perfect_test" if raised else None)
    if flag is not None:
        assert ("accuracy" in flag.message) == (accuracy == 1)
        assert "trial_1" in flag.message


def test_a_shuffled_control_is_flagged_only_if_a_second_one_confirms_it() -> None:
    assert flags.needs_another_shuffle(0.009)
    assert not flags.needs_another_shuffle(0.01)
    assert kind(flags.shuffled_above_chance(0.001, 0.009)) == "shuffled_above_chance"
    assert flags.shuffled_above_chance(0.001, 0.01) is None
    assert flags.shuffled_above_chance(0.5, 0.001) is None


@pytest.mark.parametrize(
    ("control", "model", "options", "raised"),
    [
        (0.94, 0.95, {}, True),
        (0.97, 0.95, {}, True),
        (0.92, 0.95, {}, False),
        (0.92, 0.95, {"noise_floor": 0.04}, True),
        (0.94, 0.95, {"noise_floor": 0.001}, True),
        (0.51, 0.52, {}, False),  # both at chance: the control explains nothing
        (0.58, 0.59, {"low": 0.49}, False),
        (0.58, 0.59, {"low": 0.51}, True),
        (0.92, 0.95, {"low": 0.9}, False),
    ],
)
def test_a_control_near_the_model_is_flagged(
    control: float, model: float, options: dict[str, float], raised: bool
) -> None:
    for name in ("border", "metadata", "best_pixel"):
        flag = flags.control_near_model(name, control, model, **options)
        assert kind(flag) == ("control_near_model" if raised else None)
        if flag is not None:
            assert f"{control:.3f}" in flag.message
            assert f"{model:.3f}" in flag.message


def predictions(**trials: Any) -> pd.DataFrame:
    """Return validation rows of each trial, from its probabilities of the positive class."""
    tables = []
    for trial, p in trials.items():
        images = [f"image{i}" for i in range(len(p))]
        columns = {"trial": trial, "split": "val", "image": images, "patient": images, "label": 0}
        tables.append(pd.DataFrame({**columns, "p_a": 1 - np.array(p), "p_b": np.array(p)}))
    return pd.concat(tables, ignore_index=True)


def trials_of(**params_by_trial: dict[str, Any]) -> pd.DataFrame:
    rows = [
        {"trial_id": trial, "seed": 0, **{f"params.{k}": v for k, v in params.items()}}
        for trial, params in params_by_trial.items()
    ]
    return pd.DataFrame(rows)


SAME = [0.1, 0.7, 0.3]


def test_two_configurations_with_identical_predictions_are_flagged() -> None:
    raised = flags.identical_predictions(
        predictions(a=SAME, b=SAME, c=[0.1, 0.7, 0.3000001]),
        trials_of(a={"lr": 0.1}, b={"lr": 0.2}, c={"lr": 0.3}),
    )
    assert [flag.kind for flag in raised] == ["identical_predictions"]
    assert "Trials a, b " in raised[0].message


def test_identical_predictions_are_flagged_in_any_order_of_rows() -> None:
    table = predictions(a=SAME, b=SAME)
    shuffled = table.sample(frac=1, random_state=0)
    assert flags.identical_predictions(shuffled, trials_of(a={"lr": 0.1}, b={"lr": 0.2}))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"lr": 0.1, "momentum": None}, {"lr": 0.1, "momentum": None}),
        ({"lr": 0.1, "epochs": 5}, {"lr": 0.1, "epochs": 9}),
        ({"lr": 0.1, "patience": 0}, {"lr": 0.1, "patience": 3}),
        ({"freeze": "lp_ft", "lp_epochs": 2}, {"freeze": "backbone", "lp_epochs": None}),
    ],
)
def test_trials_that_may_be_the_same_model_are_not_flagged(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    table = predictions(a=SAME, b=SAME)
    assert flags.identical_predictions(table, trials_of(a=first, b=second)) == []
    assert flags.identical_predictions(table, trials_of(a=first | {"x": 1}, b=second | {"x": 2}))


def test_two_seeds_with_identical_predictions_are_flagged() -> None:
    trials = trials_of(a={"lr": 0.1}, b={"lr": 0.1})
    trials["seed"] = [0, 1]
    assert len(flags.identical_predictions(predictions(a=SAME, b=SAME), trials)) == 1


def test_test_predictions_and_an_empty_table_raise_no_flag() -> None:
    table = predictions(a=SAME, b=SAME)
    trials = trials_of(a={"lr": 0.1}, b={"lr": 0.2})
    assert flags.identical_predictions(table.assign(split="test"), trials) == []
    assert flags.identical_predictions(table[:0], trials) == []


def test_a_model_that_predicts_only_one_class_is_flagged() -> None:
    flag = flags.one_class("trial_3", np.array([[0.4, 0.6], [0.1, 0.9]]), ["no", "yes"])
    assert kind(flag) == "one_class"
    assert flag is not None
    assert "'yes'" in flag.message
    assert flags.one_class("trial_3", np.array([[0.6, 0.4], [0.1, 0.9]]), ["no", "yes"]) is None


@pytest.mark.parametrize(
    ("train", "val", "patients", "raised"),
    [
        (0.80, 0.95, 150, True),
        (0.80, 0.86, 150, False),  # within noise
        (0.80, 0.86, 2_000, True),
        (0.95, 0.80, 150, False),
        (1.0, 1.0, 150, False),
        (0.0, 0.5, 10, True),
        (0.5, 0.9, 5, False),
    ],
)
def test_validation_far_above_train_is_flagged(
    train: float, val: float, patients: int, raised: bool
) -> None:
    flag = flags.validation_above_train("trial_2", train, val, patients)
    assert kind(flag) == ("validation_above_train" if raised else None)


def test_messages_are_one_line_and_end_with_a_full_stop() -> None:
    raised = [
        flags.perfect_test("t", 1, 1, 3),
        flags.shuffled_above_chance(0, 0),
        flags.control_near_model("border", 0.9, 0.9),
        flags.one_class("t", np.array([[1.0, 0.0]]), ["a", "b"]),
        flags.validation_above_train("t", 0.1, 0.9, 100),
        *flags.identical_predictions(
            predictions(a=SAME, b=SAME), trials_of(a={"lr": 1}, b={"lr": 2})
        ),
    ]
    for flag in raised:
        assert flag is not None
        assert flag.message.endswith(".")
        assert "\n" not in flag.message
