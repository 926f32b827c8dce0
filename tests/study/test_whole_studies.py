"""Whole studies: their files, their tables, and how trials end."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tune_bio.records.tables import Records
from tune_bio.study.planning import memory

Run = Callable[..., Any]

ANN = {"model": "ann", "width": 16, "lr": 0.003, "dropout": 0.2}
CNN = {"model": "cnn", "width": 8, "lr": 0.003, "dropout": 0.2}


def _curves(epochs: pd.DataFrame, trial_id: str) -> pd.DataFrame:
    timed = ["trial_id", "seconds", "images_per_second"]
    return epochs[epochs["trial_id"] == trial_id].drop(columns=timed).reset_index(drop=True)


def test_a_search_writes_all_files_and_a_model_that_reproduces_its_score(study: Run) -> None:
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
    assert len(list((finished.folder / "figures").glob("*.png"))) == 3, (
        "other figures need finalists"
    )
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
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    reproduced, recorded = json.loads(done.stdout)
    assert reproduced == pytest.approx(recorded, abs=1e-6)
    assert recorded == pytest.approx(finished.epochs["val_auroc"].max(), abs=1e-12)


def test_the_tables_of_epochs_and_trials_agree(study: Run) -> None:
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


def test_stored_predictions_are_from_the_best_epoch(study: Run) -> None:
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
    # Each configuration ran once in a fresh process and once in a reused process.
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
def test_listed_configurations_run_as_listed_and_repetitions_run_once(study: Run) -> None:
    configs = [ANN, {**ANN, "seed": 1}, ANN]
    finished = study("--max-epochs", "2", name="first", configs=configs)
    assert list(finished.trials["seed"]) == [0, 1]
    assert finished.trials["config_id"].nunique() == 1
    assert "1 repeated" in " ".join(finished.manifest["left_out"])
    again = study(
        "--max-epochs", "2", "--configs", str(finished.folder / "trials.parquet"), name="again"
    )
    columns = ["config_id", "seed", "best_val_auroc", "best_val_loss"]
    pd.testing.assert_frame_equal(again.trials[columns], finished.trials[columns])


@pytest.mark.slow
def test_trials_that_share_a_gpu_overlap(study: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study is ended as soon as four trials are training, however long they take to start."""
    add_epochs, stopping = Records.add_epochs, list[bool]()

    def add_epochs_and_stop(self: Records, trial: str, rows: Any) -> None:
        add_epochs(self, trial, rows)
        training = [t for t in self.epochs if self.trials[t]["status"] == "running"]
        if len(training) == 4 and not stopping:
            stopping.append(True)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Records, "add_epochs", add_epochs_and_stop)
    slow = [{**CNN, "batch_size": 2, "width": 64, "seed": seed} for seed in range(4)]
    halves = ("--gpus-per-trial", "0.5", "--cpus-per-trial", "0.5", "--max-concurrent", "4")
    finished = study(*halves, "--max-epochs", "2000", configs=slow)
    assert finished.status == 128 + signal.SIGTERM
    assert finished.manifest["resources"]["concurrent"] == 4
    assert list(finished.trials["status"]) == ["interrupted"] * 4
    starts, ends = zip(*finished.manifest["timeline"].values(), strict=True)
    assert max(starts) < min(ends)


def test_a_diverged_trial_is_reported_and_ranks_last(study: Run) -> None:
    diverging = {**CNN, "optimizer": "sgd", "lr": 100.0, "momentum": 0.9}
    finished = study("--set", "epochs=4", configs=[ANN, diverging])
    assert finished.status == 0
    assert list(finished.trials["status"]) == ["completed", "diverged"]
    assert "lower lr" in finished.trials["error"]["t0001"]
    assert finished.manifest["best_trial"] == "t0000"


def test_a_trial_that_cannot_start_fails_with_a_remedy(
    study: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The preflight refuses such a trial; here its check is switched off.
    monkeypatch.setattr(memory, "refuse_unfit", lambda *plan: [])
    huge = {**ANN, "width": "1000-1000000000000"}  # petabytes, more than a process can address
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
    error = capsys.readouterr().err
    assert "width=200000) needs about" in error
    assert "no node has more than" in error


def test_a_trial_ends_early_when_its_patience_is_exhausted(study: Run) -> None:
    not_improving = {**CNN, "lr": 1e-12, "patience": 1, "epochs": 4}
    finished = study(configs=[not_improving])
    trial = finished.trials.iloc[0]
    assert trial["status"] == "completed"
    assert trial["epochs_run"] == trial["best_epoch"] + 1 < 4


def test_a_capped_number_of_epochs_is_reported(study: Run) -> None:
    finished = study("--max-epochs", "2", configs=[{**ANN, "epochs": 9}])
    assert finished.trials["params.epochs"].tolist() == [2]
    assert any("capped" in note for note in finished.manifest["left_out"])


@pytest.mark.slow
def test_a_time_budget_ends_the_search_and_keeps_its_records(study: Run) -> None:
    # Longer trials than any machine trains in a minute, and time for the first of their epochs.
    slow = [{**CNN, "batch_size": 2, "width": 64, "epochs": 9000, "seed": s} for s in range(8)]
    finished = study("--max-epochs", "9000", "--time-budget", "60", configs=slow)
    assert finished.status == 0
    assert finished.manifest["interrupted"]
    assert set(finished.trials["status"]) == {"interrupted"}
    assert len(finished.epochs) > 0
    assert (finished.folder / "summary.md").is_file()
