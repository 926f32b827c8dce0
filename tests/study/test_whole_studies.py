"""Whole studies, on a Ray that runs in this process."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tune_bio.study.planning import memory

Run = Callable[..., Any]

ANN = {"model": "ann", "width": 16, "lr": 0.003, "dropout": 0.2}
CNN = {"model": "cnn", "width": 8, "lr": 0.003, "dropout": 0.2}


def _curves(epochs: pd.DataFrame, trial_id: str) -> pd.DataFrame:
    timed = ["trial_id", "seconds", "images_per_second"]
    return epochs[epochs["trial_id"] == trial_id].drop(columns=timed).reset_index(drop=True)


def test_a_search_leaves_every_file_and_a_model_that_reproduces_its_score(study: Run) -> None:
    finished = study()
    assert finished.status == 0
    files = {p.relative_to(finished.folder).as_posix() for p in finished.folder.rglob("*.*")}
    assert {
        "trials.parquet", "epochs.parquet", "predictions.parquet", "experiment.json", "summary.md",
        "optuna.log",
        "best/model.safetensors", "best/config.json", "figures/learning_curves.png",
        "figures/learning_curves.svg", "figures/hyperparameters.png",
        "figures/trials_over_time.svg",
    } <= files  # fmt: skip
    assert len(list((finished.folder / "figures").glob("*.png"))) == 3, "no more for a bare search"
    trials = finished.trials
    assert len(trials) == 6
    assert set(trials["status"]) <= {"completed", "stopped_early"}
    assert (trials["status"] == "stopped_early").any()

    script = f"""
import json, numpy as np, tune_bio
from sklearn.metrics import roc_auc_score
model = tune_bio.load_model({str(finished.folder)!r})
data = np.load({finished.manifest["data"]["source"]!r})
score = roc_auc_score(data["val_labels"].ravel(), model.predict(data["val_images"])[:, 1])
print(json.dumps([score, model.validation["val_auroc"]]))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    again, recorded = json.loads(ran.stdout)
    assert again == pytest.approx(recorded, abs=1e-6)
    assert recorded == pytest.approx(finished.epochs["val_auroc"].max(), abs=1e-12)


def test_epochs_and_trials_tell_the_same_story(study: Run) -> None:
    finished = study("--searcher", "random")
    epochs = finished.epochs
    assert not epochs.duplicated(["trial_id", "epoch"]).any()
    for trial_id, trial in finished.trials.iterrows():
        curve = epochs[epochs["trial_id"] == trial_id]
        assert list(curve["epoch"]) == list(range(1, int(trial["epochs_run"]) + 1))
        assert trial["epochs_trained"] == trial["epochs_run"]
        assert trial["best_val_auroc"] == curve["val_auroc"].max()
        assert trial["best_epoch"] == curve["epoch"].iloc[curve["val_auroc"].argmax()]
        assert trial["best_val_loss"] == curve["val_loss"].min()
        assert trial["final_val_loss"] == curve["val_loss"].iloc[-1]
        assert np.isfinite(trial["generalization_gap"])
        assert trial["multiply_adds"] > 0
        assert trial["parameters"] >= trial["trainable_parameters"] > 0
    assert finished.trials["test_auroc"].isna().all()
    assert finished.manifest["test_set_opened"] == []


def test_predictions_are_those_of_the_best_epoch(study: Run) -> None:
    finished = study("--scheduler", "none", "--num-trials", "2")
    predictions = pd.read_parquet(finished.folder / "predictions.parquet")
    for trial_id, trial in finished.trials.iterrows():
        of_trial = predictions[predictions["trial"] == trial_id]
        assert len(of_trial) == 48
        accuracy = (of_trial["p_1"].gt(0.5) == of_trial["label"]).mean()
        curve = finished.epochs[finished.epochs["trial_id"] == trial_id].set_index("epoch")
        assert accuracy == pytest.approx(curve["val_accuracy"][trial["best_epoch"]])


def test_a_reused_actor_gives_bit_identical_curves(study: Run) -> None:
    flags = ("--max-concurrent", "1", "--set", "epochs=3")
    first = study(*flags, name="first", configs=[ANN, CNN])
    second = study(*flags, name="second", configs=[CNN, ANN])
    # Each configuration ran once in a fresh process and once in one that another had used.
    pd.testing.assert_frame_equal(
        _curves(first.epochs, "t0000"), _curves(second.epochs, "t0001"), check_exact=True
    )
    pd.testing.assert_frame_equal(
        _curves(first.epochs, "t0001"), _curves(second.epochs, "t0000"), check_exact=True
    )


def test_a_grid_runs_every_combination_once(study: Run) -> None:
    finished = study("--searcher", "grid", "--scheduler", "none", "--set", "lr=0.001")
    cells = finished.trials[["params.model", "params.batch_size"]]
    assert len(cells) == len(cells.drop_duplicates()) == 6
    assert set(finished.trials["params.lr"]) == {0.001}


@pytest.mark.slow
def test_listed_configurations_run_as_listed_and_repeats_once(study: Run) -> None:
    listed = [ANN, {**ANN, "seed": 1}, ANN]
    finished = study("--max-epochs", "2", name="first", configs=listed)
    assert list(finished.trials["seed"]) == [0, 1]
    assert finished.trials["config_id"].nunique() == 1
    assert "1 repeated" in " ".join(finished.manifest["left_out"])
    again = study(
        "--max-epochs", "2", "--configs", str(finished.folder / "trials.parquet"), name="again"
    )
    columns = ["config_id", "seed", "best_val_auroc", "best_val_loss"]
    pd.testing.assert_frame_equal(again.trials[columns], finished.trials[columns])


@pytest.mark.slow
def test_trials_that_share_a_gpu_overlap(study: Run) -> None:
    slow = [{**CNN, "batch_size": 2, "width": 64, "seed": seed} for seed in range(4)]
    halves = ("--gpus-per-trial", "0.5", "--cpus-per-trial", "0.5", "--max-concurrent", "4")
    flags = (*halves, "--max-epochs", "30")
    finished = study(*flags, configs=slow)
    assert finished.manifest["resources"]["concurrent"] == 4
    starts, ends = zip(*finished.manifest["timeline"].values(), strict=True)
    assert max(starts) < min(ends)


def test_a_diverged_trial_is_told_and_ranks_last(study: Run) -> None:
    wild = {**CNN, "optimizer": "sgd", "lr": 100.0, "momentum": 0.9}
    finished = study("--set", "epochs=4", configs=[ANN, wild])
    assert finished.status == 0
    assert list(finished.trials["status"]) == ["completed", "diverged"]
    assert "lower lr" in finished.trials["error"]["t0001"]
    assert finished.manifest["best_trial"] == "t0000"


def test_a_trial_that_cannot_start_is_failed_with_its_remedy(
    study: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Preflight refuses such a trial; here its estimate is taken for too low.
    monkeypatch.setattr(memory, "refuse_unfit", lambda *plan: [])
    huge = {**ANN, "width": "1000-1000000000"}
    finished = study("--set", "epochs=2", configs=[huge, ANN])
    assert finished.status == 1
    assert list(finished.trials["status"]) == ["failed", "completed"]
    assert finished.trials["error"]["t0000"].startswith("out of memory")
    assert "try batch_size=16" in finished.trials["error"]["t0000"]


def test_a_trial_that_no_machine_could_hold_is_refused_before_anything_starts(
    study: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = study(configs=[ANN, {**ANN, "width": 200_000}])
    assert finished.status == 2
    assert not finished.folder.exists()
    told = capsys.readouterr().err
    assert "width=200000) needs about" in told
    assert "no node has more than" in told


def test_patience_ends_a_trial_by_itself(study: Run) -> None:
    flat = {**CNN, "lr": 1e-12, "patience": 1, "epochs": 4}
    finished = study(configs=[flat])
    trial = finished.trials.iloc[0]
    assert trial["status"] == "completed"
    assert trial["epochs_run"] == trial["best_epoch"] + 1 < 4


def test_epochs_beyond_the_cap_are_reported(study: Run) -> None:
    finished = study("--max-epochs", "2", configs=[{**ANN, "epochs": 9}])
    assert finished.trials["params.epochs"].tolist() == [2]
    assert any("capped" in note for note in finished.manifest["left_out"])


@pytest.mark.slow
def test_a_time_budget_ends_the_search_and_keeps_what_there_is(study: Run) -> None:
    slow = [{**CNN, "batch_size": 2, "width": 64, "epochs": 400, "seed": s} for s in range(8)]
    finished = study("--max-epochs", "400", "--time-budget", "25", configs=slow)
    assert finished.status == 0
    assert finished.manifest["interrupted"]
    assert set(finished.trials["status"]) == {"interrupted"}
    assert len(finished.epochs) > 0
    assert (finished.folder / "summary.md").is_file()
