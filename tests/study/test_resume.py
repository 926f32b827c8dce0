"""A study that goes on: after a kill, after an interruption, or because more is wanted."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from tune_bio.analysis.optuna_log import OPTUNA_LOG

from tests.study.conftest import Finished
from tune_bio.records.manifest_file import MANIFEST
from tune_bio.records.tables import Records, read_epochs, read_predictions, read_trials

Run = Callable[..., Finished]
CLOCK = ["seconds", "images_per_second"]
ANN = {"model": "ann", "width": 8, "batch_size": 16, "image_size": 16, "dropout": 0.3}
PATIENCE_SECONDS = 120


def _rows(epochs: pd.DataFrame) -> pd.DataFrame:
    return epochs.drop(columns=CLOCK).reset_index(drop=True)


def test_a_finished_study_is_extended_by_trials(study: Run) -> None:
    first = study("--num-trials", "4")
    before = (first.trials, first.epochs)
    more = study("--num-trials", "7", "--resume")
    assert more.status == 0
    assert more.trials.index.tolist() == [f"t000{n}" for n in range(7)]
    pd.testing.assert_frame_equal(more.trials.iloc[:4], before[0], check_dtype=False)
    kept = more.epochs[more.epochs["trial_id"].isin(before[0].index)]
    pd.testing.assert_frame_equal(kept.reset_index(drop=True), before[1])
    drawn = more.trials[["params.model", "params.lr", "params.batch_size"]]
    assert not drawn.duplicated().any(), "the same random numbers were drawn again"
    assert len(more.manifest["resumed"]) == 1
    backend = JournalFileBackend(str(more.folder / OPTUNA_LOG))
    shown = optuna.load_study(study_name="study", storage=JournalStorage(backend))
    assert [t.params["lr"] for t in shown.trials] == more.trials["params.lr"].tolist()
    assert [t.user_attrs["trial_id"] for t in shown.trials] == more.trials.index.tolist()


@pytest.mark.slow
def test_a_finished_study_is_extended_by_epochs(study: Run, tmp_path: Path) -> None:
    configs = [{**ANN, "lr": lr} for lr in (1e-2, 1e-3)]
    first = study("--max-epochs", "3", configs=configs)
    before = first.epochs
    longer = study("--max-epochs", "5", "--resume", configs=configs)
    assert longer.status == 0
    assert longer.trials["status"].tolist() == ["completed"] * 2
    assert longer.trials["params.epochs"].tolist() == [5, 5]
    assert longer.trials["epochs_trained"].tolist() == [5, 5], "all of them are its own"
    begun = longer.epochs[longer.epochs["epoch"] <= 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(begun, before)  # the clock's columns too: trained once
    (tmp_path / "results").rename(tmp_path / "elsewhere")
    whole = study("--max-epochs", "5", configs=configs)
    extended = read_epochs(tmp_path / "elsewhere" / "study")
    pd.testing.assert_frame_equal(_rows(extended), _rows(whole.epochs))


def test_a_schedule_that_is_stretched_to_the_length_cannot_be_extended(
    study: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = [{**ANN, "lr_schedule": "cosine"}]
    study("--max-epochs", "2", configs=configs)
    assert study("--max-epochs", "4", "--resume", configs=configs).status == 2
    assert "which is no beginning of 4 epochs" in capsys.readouterr().err


@pytest.mark.slow
def test_a_study_that_ran_out_of_time_goes_on(study: Run, tmp_path: Path) -> None:
    slow = {"model": "cnn", "width": 32, "batch_size": 4, "epochs": 12}
    configs = [{**slow, "lr": lr} for lr in (1e-2, 1e-3, 1e-4)]
    flags = ["--max-epochs", "12", "--scheduler", "asha", "--max-concurrent", "1"]
    first = study(*flags, "--time-budget", "3", configs=configs)
    assert "interrupted" in set(first.trials["status"]) or len(first.trials) < 3
    done = study(*flags, "--resume", configs=configs)
    assert set(done.trials["status"]) <= {"completed", "stopped_early"}
    assert len(done.trials) == 3
    assert not done.epochs.duplicated(["trial_id", "epoch"]).any()
    assert done.trials["epochs_trained"].tolist() == done.trials["epochs_run"].tolist()
    assert not done.manifest["interrupted"]


def test_a_study_goes_on_as_itself(study: Run, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--num-trials", "2", "--max-epochs", "1"]
    first = study(*small)
    before = {p: p.read_bytes() for p in first.folder.glob("*.*")}
    for flags, told in {
        ("--name", "other"): "there is no study",
        ("--seed", "1"): "began with seed=0 and cannot go on with 1",
        ("--metric", "val_loss"): "began with metric=val_auroc",
        ("--num-trials", "1"): "extended and not cut",
        ("--set", "lr=0.01"): "is not what the study began with",
    }.items():
        capsys.readouterr()
        assert study(*small, "--resume", *flags).status == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
        assert {p: p.read_bytes() for p in first.folder.glob("*.*")} == before


def test_changed_data_a_changed_space_and_a_second_driver_are_refused(
    study: Run, space: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    npz, arrays = tmp_path / "own.npz", {}
    for name in ("train", "val", "test"):
        arrays[f"{name}_images"] = rng.integers(0, 255, (24, 16, 16)).astype(np.uint8)
        arrays[f"{name}_labels"] = np.arange(24) % 2
    np.savez(npz, **arrays)
    flags = ["--num-trials", "2", "--max-epochs", "1", "--data", str(npz)]
    first = study(*flags)

    def refusal() -> str:
        capsys.readouterr()
        assert study(*flags, "--resume").status == 2
        return capsys.readouterr().err

    with FileLock(first.folder / ".lock"):
        assert "another process is running the study" in refusal()
    arrays["train_images"][0, 0, 0] ^= 1
    np.savez(npz, **arrays)
    assert "are not those that the study began with" in refusal()
    space.write_text(space.read_text().replace("1e-4", "1e-5"))
    assert "is not what the study began with" in refusal()


def test_killed_at_any_moment_it_goes_on_and_trains_no_epoch_twice(
    study: Run, space: Path, tmp_path: Path
) -> None:
    """The driver is killed with SIGKILL, twice, in the midst of training."""
    slow = {"model": "cnn", "width": 64, "batch_size": 2, "dropout": 0.2}
    lengths = [{**slow, "lr": 1e-3, "epochs": epochs} for epochs in (4, 12, 120)]
    configs = [*lengths, {**slow, "lr": 1e-4, "epochs": 120}]
    listed = tmp_path / "study.json"
    listed.write_text(json.dumps(configs))
    folder = tmp_path / "results" / "study"
    command = [
        sys.executable, "-m", "tune_bio.search", str(space), "--name", "study", "--max-epochs",
        "120", "--results", str(folder.parent), "--configs", str(listed), "--quiet",
        "--scheduler", "asha", "--grace-period", "2",
    ]  # fmt: skip
    seen: list[pd.DataFrame] = []
    for resume, rows in (([], 3), (["--resume"], 12)):
        process = subprocess.Popen([*command, *resume])
        _wait_for_rows(folder, rows, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        seen.append(read_epochs(folder))
    kept = _checkpointed(folder)
    done = study(*command[command.index("--max-epochs") :][:2], "--scheduler", "asha",
                 "--grace-period", "2", "--resume", configs=configs)  # fmt: skip
    assert done.status == 0
    trials, epochs = done.trials, done.epochs
    assert trials.index.tolist() == ["t0000", "t0001", "t0002", "t0003"]
    assert set(trials["status"]) <= {"completed", "stopped_early"}
    assert not epochs.duplicated(["trial_id", "epoch"]).any()
    assert trials["epochs_run"].tolist() == epochs.groupby("trial_id")["epoch"].max().tolist()
    assert trials.loc[:"t0002", "epochs_trained"].sum() == trials.loc["t0002", "epochs_run"]
    times = epochs.set_index(["trial_id", "epoch"])["seconds"]
    for trial, until in kept.items():
        for before in seen[-1:]:
            own = before[(before["trial_id"] == trial) & (before["epoch"] <= until)]
            for epoch, seconds in zip(own["epoch"], own["seconds"], strict=True):
                assert times[trial, epoch] == seconds, "an epoch before the checkpoint was trained"
    (tmp_path / "results").rename(tmp_path / "killed")
    whole = study("--max-epochs", "120", configs=configs[1:])
    expected = _rows(whole.epochs).set_index(["trial_id", "epoch"])
    for trial, alone in (("t0001", "t0000"), ("t0002", "t0001"), ("t0003", "t0002")):
        found = _rows(epochs[epochs["trial_id"] == trial].drop(columns="trial_id"))
        same = expected.loc[alone].reset_index().iloc[: len(found)]
        pd.testing.assert_frame_equal(found, same)


@pytest.mark.slow
def test_checkpoints_may_be_ahead_of_the_records(study: Run) -> None:
    """A kill loses what was recorded in the last two seconds, and no checkpoint."""
    configs = [{**ANN, "lr": 1e-2, "epochs": epochs} for epochs in (3, 5, 8)]
    whole = study("--max-epochs", "8", configs=configs)
    before, epochs = whole.trials, whole.epochs
    predictions = read_predictions(whole.folder)
    lost = before.reset_index().assign(status="running")[list(read_trials(whole.folder).columns)]
    lost.to_parquet(whole.folder / "trials.parquet")
    epochs[epochs["epoch"] <= 2].to_parquet(whole.folder / "epochs.parquet")
    again = study("--max-epochs", "8", "--resume", configs=configs)
    assert again.status == 0
    pd.testing.assert_frame_equal(again.epochs, epochs)  # the clock's columns too: trained once
    same = ["status", "epochs_run", "epochs_trained", "reused_from", "best_epoch", "best_val_auroc",
            "final_val_loss", "generalization_gap"]  # fmt: skip
    pd.testing.assert_frame_equal(again.trials[same], before[same])
    found = read_predictions(again.folder).sort_values(["trial", "image"], ignore_index=True)
    expected = predictions.sort_values(["trial", "image"], ignore_index=True)
    pd.testing.assert_frame_equal(found, expected)


def test_a_study_that_was_killed_as_it_began_is_begun_again(study: Run, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "study"
    folder.mkdir(parents=True)
    nobody = np.array([], dtype=str)
    Records(folder, ("a", "b"), nobody, nobody, np.array([], dtype=np.int64)).write()
    small = ["--num-trials", "1", "--max-epochs", "1"]
    assert study(*small, "--resume").status == 2  # nothing is on record
    assert study(*small).status == 0
    assert study(*small).status == 2


@pytest.mark.parametrize("names", [("settings", "max_epochs"), ("space",), ("started",)])
def test_a_manifest_that_was_changed_by_hand_is_told_in_one_line(
    study: Run, capsys: pytest.CaptureFixture[str], names: tuple[str, ...]
) -> None:
    small = ["--num-trials", "1", "--max-epochs", "1"]
    manifest = study(*small).folder / MANIFEST
    content = json.loads(manifest.read_text())
    within = content if len(names) == 1 else content[names[0]]
    del within[names[-1]]
    for text in (json.dumps(content), "[]", "{"):
        manifest.write_text(text)
        capsys.readouterr()
        assert study(*small, "--resume").status == 2
        error = capsys.readouterr().err
        assert str(manifest) in error
        assert error.count("\n") == 1


def _wait_for_rows(folder: Path, rows: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the study ended before it could be killed"
        if (folder / "trials.parquet").is_file():
            found = read_epochs(folder).drop_duplicates(["epoch", "val_loss"])
            if len(found) >= rows and "running" in set(read_trials(folder)["status"]):
                return
        time.sleep(0.1)
    pytest.fail(f"fewer than {rows} epochs within {PATIENCE_SECONDS} s")


def _checkpointed(folder: Path) -> dict[str, int]:
    """The last epoch of each trial that has a checkpoint."""
    last: dict[str, int] = {}
    for mark in (folder / "checkpoints").glob("*/of-*"):
        epochs = [int(path.name) for path in mark.parent.iterdir() if path.name.isdigit()]
        last[mark.name.removeprefix("of-")] = max(epochs, default=0)
    return last


@pytest.mark.slow
def test_a_killed_search_keeps_its_ids_and_draws(study: Run, space: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "study"
    flags = ["--num-trials", "5", "--max-epochs", "60", "--set", "batch_size=2"]
    command = [
        sys.executable, "-m", "tune_bio.search", str(space), "--name", "study", "--quiet",
        "--results", str(folder.parent), *flags,
    ]  # fmt: skip
    process = subprocess.Popen(command)
    _wait_for_rows(folder, 2, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = read_trials(folder).set_index("trial_id")
    done: Any = study(*flags, "--resume")
    assert done.status == 0
    assert done.trials.index.tolist() == [f"t000{n}" for n in range(5)]
    columns = ["config_id", "params.model", "params.lr", "seed"]
    pd.testing.assert_frame_equal(done.trials.loc[before.index, columns], before[columns])
    assert set(done.trials["status"]) <= {"completed", "stopped_early"}
    assert not done.epochs.duplicated(["trial_id", "epoch"]).any()
