"""Studies that train no epoch twice, and record which epochs they reused."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.study.conftest import Finished
from tune_bio.records.tables import read_predictions

Run = Callable[..., Finished]
TIMED = ["seconds", "images_per_second"]
STEP = {"model": "ann", "width": 8, "batch_size": 16, "lr_schedule": "step", "step_size": 3,
        "image_size": 16, "dropout": 0.3}  # fmt: skip
LENGTHS = (2, 5, 3, 8)


def _curve(study: Finished, trial: str) -> pd.DataFrame:
    epochs = study.epochs
    of_trial = epochs[epochs["trial_id"] == trial].drop(columns=["trial_id", *TIMED])
    return of_trial.reset_index(drop=True)


def test_a_list_of_lengths_trains_only_the_longest(study: Run, tmp_path: Path) -> None:
    together = study("--max-epochs", "8", configs=[{**STEP, "epochs": n} for n in LENGTHS])
    trials = together.trials
    assert trials["status"].tolist() == ["completed"] * 4
    assert trials["epochs_run"].tolist() == list(LENGTHS)
    assert trials["epochs_trained"].tolist() == [2, 2, 1, 3]
    assert trials["reused_from"].tolist()[1:] == ["t0002", "t0000", "t0001"]
    assert pd.isna(trials["reused_from"].iloc[0])
    (tmp_path / "results").rename(tmp_path / "together")  # so that nothing is reused from it
    together = Finished(together.status, tmp_path / "together" / "study")
    predictions = read_predictions(together.folder)
    for trial, epochs in (("t0002", 3), ("t0003", 8)):
        single = study("--max-epochs", "8", name="single", configs=[{**STEP, "epochs": epochs}])
        (tmp_path / "results").rename(tmp_path / f"single{epochs}")
        single = Finished(single.status, tmp_path / f"single{epochs}" / "single")
        pd.testing.assert_frame_equal(_curve(together, trial), _curve(single, "t0000"))
        of_trial = predictions[predictions["trial"] == trial].drop(columns="trial")
        of_single = read_predictions(single.folder).drop(columns="trial")
        pd.testing.assert_frame_equal(of_trial.reset_index(drop=True), of_single)
        same = ["config_id", "best_epoch", "best_val_auroc", "generalization_gap", "epochs_run"]
        assert trials.loc[trial, same].tolist() == single.trials.loc["t0000", same].tolist()


def test_a_study_continues_from_checkpoints_of_another_study_in_the_same_folder(study: Run) -> None:
    study("--max-epochs", "8", name="first", configs=[{**STEP, "epochs": 5}])
    second = study("--max-epochs", "8", name="second", configs=[{**STEP, "epochs": 8}])
    assert second.trials.loc["t0000", "epochs_trained"] == 3
    assert second.trials.loc["t0000", "reused_from"] == "first/t0000"
    assert second.epochs["epoch"].tolist() == list(range(1, 9))
    third = study("--max-epochs", "8", name="third", configs=[{**STEP, "epochs": 8}])
    assert third.trials.loc["t0000", "epochs_trained"] == 0
    pd.testing.assert_frame_equal(_curve(third, "t0000"), _curve(second, "t0000"))
    assert (third.folder / "best" / "model.safetensors").is_file()


@pytest.mark.parametrize(("searcher", "trials"), [("random", 8), ("tpe", 13)])
def test_drawn_trials_reuse_the_epochs_of_earlier_trials(
    study: Run, space: Path, searcher: str, trials: int
) -> None:
    space.write_text(
        space.read_text()
        .replace('["ann", "cnn", "cnn_gap"]', '["ann"]')
        .replace("trial.suggest_float", "# ")
        .replace("[16, 32]", "[16]")
        + '    trial.suggest_categorical("epochs", [2, 4])\n'
        + '    trial.suggest_categorical("lr_schedule", ["step"])\n'
    )
    # TPE draws its first ten trials at random.
    drawn = study("--num-trials", str(trials), "--searcher", searcher).trials
    assert set(drawn["params.epochs"]) == {2, 4}, "the draws of this seed have both lengths"
    assert drawn["epochs_trained"].sum() <= 6  # at most 2 and 4 epochs, each trained from scratch
    assert (drawn["epochs_run"] == drawn["params.epochs"]).all()
    assert drawn["reused_from"].notna().sum() >= trials - 2


@pytest.mark.slow
def test_reused_epochs_pass_every_rung_of_asha(study: Run) -> None:
    configs = [{**STEP, "epochs": 8, "lr": lr} for lr in (1e-2, 1e-3, 1e-6, 1e-7)]
    flags = ["--max-epochs", "8", "--scheduler", "asha", "--grace-period", "2",
             "--reduction-factor", "2", "--max-concurrent", "1"]  # fmt: skip
    first = study(*flags, name="first", configs=configs)
    assert "stopped_early" in set(first.trials["status"])
    second = study(*flags, name="second", configs=configs)
    assert second.trials["epochs_trained"].sum() == 0
    columns = ["status", "epochs_run", "best_epoch", "generalization_gap"]
    pd.testing.assert_frame_equal(first.trials[columns], second.trials[columns])
    complete = study("--max-epochs", "8", name="complete", configs=configs)
    epochs_of_first = first.trials["epochs_run"].sum()
    trained = complete.trials["epochs_trained"].sum()
    assert trained == 4 * 8 - epochs_of_first, "stopped trials are continued"


def test_the_unfinished_trials_of_a_training_that_diverges_diverge(study: Run) -> None:
    diverging = {"model": "cnn", "width": 8, "optimizer": "sgd", "lr": 100.0, "dropout": 0.2}
    configs = [{**diverging, "epochs": epochs} for epochs in (1, 8, 9)]
    trials = study("--max-epochs", "9", configs=configs).trials
    reached = int(trials.loc["t0002", "epochs_run"])
    assert 1 < reached < 8
    assert trials["status"].tolist() == ["completed", "diverged", "diverged"]
    assert trials["epochs_run"].tolist() == [1, reached, reached]
    assert trials["epochs_trained"].sum() == reached


@pytest.mark.slow
def test_the_disk_space_of_checkpoints_is_bounded(study: Run) -> None:
    configs = [{**STEP, "epochs": 3, "lr": lr} for lr in (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)]
    unlimited = study("--max-epochs", "8", name="unlimited", configs=configs)
    limited = study("--max-epochs", "8", "--checkpoint-gib", "1e-6", "--cpus-per-trial", "2",
                    name="limited", configs=configs)  # fmt: skip

    def count(finished: Finished, name: str) -> int:
        return len(list((finished.folder / "checkpoints").glob(f"*/3/{name}.safetensors")))

    assert count(unlimited, "optimizer") == 7
    assert count(limited, "optimizer") <= 1
    assert 5 <= count(limited, "best") <= 6
    assert limited.trials["status"].eq("completed").all()
    assert (limited.folder / "best" / "model.safetensors").is_file()
