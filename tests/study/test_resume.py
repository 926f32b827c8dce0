"""Studies that are resumed: after a kill, after an interruption, or to be extended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.study.conftest import Finished
from tune_bio.records.manifest_file import MANIFEST
from tune_bio.records.optuna_journal import OPTUNA_JOURNAL
from tune_bio.records.tables import Records, read_epochs, read_predictions, read_trials

Run = Callable[..., Finished]
TIMED = ["seconds", "images_per_second"]
ANN = {"model": "ann", "width": 8, "batch_size": 16, "image_size": 16, "dropout": 0.3}
PATIENCE_SECONDS = 240


def _untimed(epochs: pd.DataFrame) -> pd.DataFrame:
    return epochs.drop(columns=TIMED).reset_index(drop=True)


def test_a_finished_study_is_extended_by_trials(study: Run) -> None:
    first = study("--num-trials", "4")
    trials, epochs = first.trials, first.epochs
    extended = study("--num-trials", "7", "--resume")
    assert extended.status == 0
    assert extended.trials.index.tolist() == [f"t000{n}" for n in range(7)]
    pd.testing.assert_frame_equal(extended.trials.iloc[:4], trials, check_dtype=False)
    of_first = extended.epochs[extended.epochs["trial_id"].isin(trials.index)]
    pd.testing.assert_frame_equal(of_first.reset_index(drop=True), epochs)
    drawn = extended.trials[["params.model", "params.lr", "params.batch_size"]]
    assert not drawn.duplicated().any(), "the same random numbers were drawn again"
    assert len(extended.manifest["resumed"]) == 1
    backend = JournalFileBackend(str(extended.folder / OPTUNA_JOURNAL))
    journal = optuna.load_study(study_name="study", storage=JournalStorage(backend))
    assert [t.params["lr"] for t in journal.trials] == extended.trials["params.lr"].tolist()
    assert [t.user_attrs["trial_id"] for t in journal.trials] == extended.trials.index.tolist()


@pytest.mark.slow
def test_a_finished_study_is_extended_by_epochs(study: Run, tmp_path: Path) -> None:
    configs = [{**ANN, "lr": lr} for lr in (1e-2, 1e-3)]
    first_epochs = study("--max-epochs", "3", configs=configs).epochs
    longer = study("--max-epochs", "5", "--resume", configs=configs)
    assert longer.status == 0
    assert longer.trials["status"].tolist() == ["completed"] * 2
    assert longer.trials["params.epochs"].tolist() == [5, 5]
    assert longer.trials["epochs_trained"].tolist() == [5, 5], "no epoch is from another trial"
    up_to_3 = longer.epochs[longer.epochs["epoch"] <= 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(up_to_3, first_epochs)  # times included: trained once
    (tmp_path / "results").rename(tmp_path / "elsewhere")
    anew = study("--max-epochs", "5", configs=configs)
    extended = read_epochs(tmp_path / "elsewhere" / "study")
    pd.testing.assert_frame_equal(_untimed(extended), _untimed(anew.epochs))


def test_a_trial_whose_lr_schedule_depends_on_its_length_cannot_be_extended(
    study: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = [{**ANN, "lr_schedule": "cosine"}]
    study("--max-epochs", "2", configs=configs)
    assert study("--max-epochs", "4", "--resume", configs=configs).status == 2
    assert "a training over 4 epochs begins differently" in capsys.readouterr().err


@pytest.mark.slow
def test_a_study_that_ran_out_of_time_is_resumed(study: Run, tmp_path: Path) -> None:
    slow = {"model": "cnn", "width": 32, "batch_size": 2, "epochs": 30}
    configs = [{**slow, "lr": lr} for lr in (1e-2, 1e-3, 1e-4)]
    flags = ["--max-epochs", "30", "--scheduler", "asha", "--max-concurrent", "1"]
    first = study(*flags, "--time-budget", "3", configs=configs)
    assert "interrupted" in set(first.trials["status"]) or len(first.trials) < 3
    resumed = study(*flags, "--resume", configs=configs)
    assert set(resumed.trials["status"]) <= {"completed", "stopped_early"}
    assert len(resumed.trials) == 3
    assert not resumed.epochs.duplicated(["trial_id", "epoch"]).any()
    assert resumed.trials["epochs_trained"].tolist() == resumed.trials["epochs_run"].tolist()
    assert not resumed.manifest["interrupted"]


def test_changed_settings_are_refused_and_change_no_file(
    study: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--num-trials", "2", "--max-epochs", "1"]
    folder = study(*small).folder
    contents = {path: path.read_bytes() for path in folder.glob("*.*")}
    for flags, message in {
        ("--name", "other"): "there is no study",
        ("--seed", "1"): "began with seed=0 and cannot go on with 1",
        ("--metric", "val_loss"): "began with metric=val_auroc",
        ("--num-trials", "1"): "can be extended but not shortened",
        ("--set", "lr=0.01"): "is not what the study began with",
    }.items():
        capsys.readouterr()
        assert study(*small, "--resume", *flags).status == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert {path: path.read_bytes() for path in folder.glob("*.*")} == contents


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
    folder = study(*flags).folder

    def refusal() -> str:
        capsys.readouterr()
        assert study(*flags, "--resume").status == 2
        return capsys.readouterr().err

    with FileLock(folder / ".lock"):
        assert "another process is running the study" in refusal()
    arrays["train_images"][0, 0, 0] ^= 1
    np.savez(npz, **arrays)
    assert "are not those that the study began with" in refusal()
    space.write_text(space.read_text().replace("1e-4", "1e-5"))
    assert "is not what the study began with" in refusal()


@pytest.mark.timeout(900)
def test_a_killed_study_is_resumed_and_trains_no_epoch_twice(
    study: Run, space: Path, tmp_path: Path
) -> None:
    """The driver is killed with SIGKILL, twice, in the middle of training."""
    slow = {"model": "cnn", "width": 64, "batch_size": 2, "dropout": 0.2}
    lengths = [{**slow, "lr": 1e-3, "epochs": epochs} for epochs in (4, 12, 40)]
    configs = [*lengths, {**slow, "lr": 1e-4, "epochs": 40}]
    listed = tmp_path / "study.json"
    listed.write_text(json.dumps(configs))
    folder = tmp_path / "results" / "study"
    command = [
        sys.executable, "-m", "tune_bio.search", str(space), "--name", "study", "--max-epochs",
        "40", "--results", str(folder.parent), "--configs", str(listed), "--quiet",
        "--scheduler", "asha", "--grace-period", "2",
    ]  # fmt: skip
    for resume, count in (([], 3), (["--resume"], 12)):
        process = subprocess.Popen([*command, *resume])
        try:
            _wait_for_epochs(folder, count, process)
        finally:
            process.kill()  # SIGKILL
            process.wait()
    epochs_before = read_epochs(folder)
    checkpointed = _last_checkpoints(folder)
    resumed = study(*command[command.index("--max-epochs") :][:2], "--scheduler", "asha",
                 "--grace-period", "2", "--resume", configs=configs)  # fmt: skip
    assert resumed.status == 0
    trials, epochs = resumed.trials, resumed.epochs
    assert trials.index.tolist() == ["t0000", "t0001", "t0002", "t0003"]
    assert set(trials["status"]) <= {"completed", "stopped_early"}
    assert not epochs.duplicated(["trial_id", "epoch"]).any()
    assert trials["epochs_run"].tolist() == epochs.groupby("trial_id")["epoch"].max().tolist()
    assert trials.loc[:"t0002", "epochs_trained"].sum() == trials.loc["t0002", "epochs_run"]
    times = epochs.set_index(["trial_id", "epoch"])["seconds"]
    for trial, last in checkpointed.items():
        of_trial = epochs_before[epochs_before["trial_id"] == trial]
        for epoch, seconds in zip(of_trial["epoch"], of_trial["seconds"], strict=True):
            if epoch <= last:
                assert times[trial, epoch] == seconds, "an epoch before the checkpoint was trained"
    (tmp_path / "results").rename(tmp_path / "killed")
    uninterrupted = study("--max-epochs", "40", configs=configs[1:])
    expected = _untimed(uninterrupted.epochs).set_index(["trial_id", "epoch"])
    for trial, counterpart in (("t0001", "t0000"), ("t0002", "t0001"), ("t0003", "t0002")):
        curve = _untimed(epochs[epochs["trial_id"] == trial].drop(columns="trial_id"))
        first_epochs = expected.loc[counterpart].reset_index().iloc[: len(curve)]
        pd.testing.assert_frame_equal(curve, first_epochs)


@pytest.mark.slow
def test_checkpoints_may_be_ahead_of_the_records(study: Run) -> None:
    """A kill loses the records of the last two seconds, but no checkpoint."""
    configs = [{**ANN, "lr": 1e-2, "epochs": epochs} for epochs in (3, 5, 8)]
    finished = study("--max-epochs", "8", configs=configs)
    folder, trials, epochs = finished.folder, finished.trials, finished.epochs
    predictions = read_predictions(folder)
    running = trials.reset_index().assign(status="running")
    columns = list(read_trials(folder).columns)
    running[columns].to_parquet(folder / "trials.parquet")
    epochs[epochs["epoch"] <= 2].to_parquet(folder / "epochs.parquet")
    resumed = study("--max-epochs", "8", "--resume", configs=configs)
    assert resumed.status == 0
    pd.testing.assert_frame_equal(resumed.epochs, epochs)  # times included: trained once
    same = ["status", "epochs_run", "epochs_trained", "reused_from", "best_epoch", "best_val_auroc",
            "final_val_loss", "generalization_gap"]  # fmt: skip
    pd.testing.assert_frame_equal(resumed.trials[same], trials[same])
    by_image = ["trial", "image"]
    pd.testing.assert_frame_equal(
        read_predictions(resumed.folder).sort_values(by_image, ignore_index=True),
        predictions.sort_values(by_image, ignore_index=True),
    )


def test_a_study_that_was_killed_as_it_began_can_be_started_again(
    study: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "results" / "study"
    folder.mkdir(parents=True)
    no_names = np.array([], dtype=str)
    Records(folder, ("a", "b"), no_names, no_names, np.array([], dtype=np.int64)).write()
    small = ["--num-trials", "1", "--max-epochs", "1"]
    assert study(*small, "--resume").status == 2  # nothing is on record
    assert study(*small).status == 0
    assert study(*small).status == 2


@pytest.mark.parametrize("names", [("settings", "max_epochs"), ("space",), ("started",)])
def test_a_manifest_that_was_changed_by_hand_is_refused_in_one_line(
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


def _wait_for_epochs(folder: Path, count: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a trial runs and `count` epochs are on record; the process must still run then.

    An epoch that several trials share counts once.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the study ended before it could be killed"
        if (folder / "trials.parquet").is_file():
            trained = read_epochs(folder).drop_duplicates(["epoch", "val_loss"])
            if len(trained) >= count and "running" in set(read_trials(folder)["status"]):
                return
        time.sleep(0.1)
    pytest.fail(f"fewer than {count} epochs within {PATIENCE_SECONDS} s")


def _last_checkpoints(folder: Path) -> dict[str, int]:
    """Return the epoch of each trial's last checkpoint."""
    epoch_by_trial: dict[str, int] = {}
    for mark in (folder / "checkpoints").glob("*/of-*"):
        epochs = [int(path.name) for path in mark.parent.iterdir() if path.name.isdigit()]
        epoch_by_trial[mark.name.removeprefix("of-")] = max(epochs, default=0)
    return epoch_by_trial


@pytest.mark.slow
def test_a_killed_search_keeps_its_ids_and_draws(study: Run, space: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "study"
    flags = ["--num-trials", "5", "--max-epochs", "60", "--set", "batch_size=2"]
    command = [
        sys.executable, "-m", "tune_bio.search", str(space), "--name", "study", "--quiet",
        "--results", str(folder.parent), *flags,
    ]  # fmt: skip
    process = subprocess.Popen(command)
    _wait_for_epochs(folder, 2, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    recorded = read_trials(folder).set_index("trial_id")
    resumed = study(*flags, "--resume")
    assert resumed.status == 0
    assert resumed.trials.index.tolist() == [f"t000{n}" for n in range(5)]
    columns = ["config_id", "params.model", "params.lr", "seed"]
    pd.testing.assert_frame_equal(resumed.trials.loc[recorded.index, columns], recorded[columns])
    assert set(resumed.trials["status"]) <= {"completed", "stopped_early"}
    assert not resumed.epochs.duplicated(["trial_id", "epoch"]).any()
