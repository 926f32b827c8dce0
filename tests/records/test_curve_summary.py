"""The summary of a curve: each column has its own optimum, and NaN is never the best."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_bio.records.curve_summary import epochs_to_plateau, summarize, val_loss_jitter

NAN = float("nan")


def epoch(number: int, auroc: float, loss: float, accuracy: float, train: float) -> dict[str, Any]:
    return {
        "epoch": number,
        "val_auroc": auroc,
        "val_loss": loss,
        "val_accuracy": accuracy,
        "train_accuracy": train,
        "train_loss": 0.1 * number,
        "seconds": float(number),
    }


CURVE = [
    epoch(1, 0.6, 0.9, 0.5, 0.5),
    epoch(2, 0.8, 0.8, 0.9, 0.6),
    epoch(3, 0.8, 0.7, 0.9, 0.9),
    epoch(4, 0.7, 0.7, 0.6, 0.8),
]


def test_each_best_column_is_its_own_optimum_and_ties_take_the_first() -> None:
    assert summarize(CURVE, "val_auroc", "max") == {
        "epochs_run": 4,
        "best_epoch": 2,
        "best_val_auroc": 0.8,
        "best_val_accuracy": 0.9,
        "best_val_loss": 0.7,
        "best_val_loss_epoch": 3,
        "best_train_accuracy": 0.9,
        "final_train_loss": pytest.approx(0.4),
        "final_train_accuracy": 0.8,
        "final_val_loss": 0.7,
        "final_val_accuracy": 0.6,
        "epochs_to_plateau": 3,
        "val_loss_jitter": pytest.approx(np.sqrt(0.05**2 / 2 / 1.5)),
        "seconds": 10.0,
        "seconds_per_epoch": 2.5,
    }
    assert summarize(CURVE, "val_loss", "min")["best_epoch"] == 3


def test_a_diverged_epoch_is_the_last_and_never_the_best() -> None:
    diverged = {"epoch": 5, "train_loss": NAN, "train_accuracy": 0.0, "seconds": 5.0}
    row = summarize([*CURVE, diverged], "val_auroc", "max")
    assert row["best_epoch"] == 2
    assert row["epochs_run"] == 5
    assert row["final_val_loss"] is None
    assert summarize([diverged], "val_auroc", "max")["best_epoch"] is None
    assert summarize([{**CURVE[0], "val_auroc": NAN}], "val_auroc", "max")["best_val_auroc"] is None


def test_a_trial_without_an_epoch_has_no_columns() -> None:
    assert summarize([], "val_auroc", "max") == {}


def test_the_plateau_is_the_end_of_the_fall_even_if_the_loss_rises_later() -> None:
    falling = np.array([1.0, 0.5, 0.205, 0.2, 0.204])
    assert epochs_to_plateau(falling) == 3
    assert epochs_to_plateau(np.append(falling, [5.0, 9.0])) == 3
    assert epochs_to_plateau(np.array([0.3, 0.4, 0.5])) == 1
    assert epochs_to_plateau(np.array([NAN, 0.4, 0.3])) == 3
    assert epochs_to_plateau(np.array([NAN])) is None


def test_jitter_is_the_noise_around_a_trend() -> None:
    epochs = np.arange(400.0)
    trend = np.exp(-epochs / 100) + 0.001 * epochs
    noise = np.random.default_rng(0).normal(scale=0.03, size=400)
    assert val_loss_jitter(trend + noise) == pytest.approx(0.03, rel=0.1)
    assert val_loss_jitter(trend) < 1e-4
    assert val_loss_jitter(np.array([0.5, 0.4])) is None
    assert val_loss_jitter(np.array([0.5, NAN, 0.4, 0.3])) is None


@given(
    st.floats(-5, 5), st.floats(-1, 1), st.lists(st.floats(0, 10, width=16), min_size=3, max_size=9)
)
def test_a_linear_trend_does_not_change_jitter(
    start: float, slope: float, losses: list[float]
) -> None:
    curve = np.array(losses)
    tilted = curve + start + slope * np.arange(len(losses))
    assert val_loss_jitter(tilted) == pytest.approx(val_loss_jitter(curve), abs=1e-9)
