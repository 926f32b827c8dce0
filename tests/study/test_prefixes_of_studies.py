"""Studies that train no epoch twice, and say so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.study.conftest import Finished
from tune_bio.records.tables import read_predictions

Run = Callable[..., Finished]
CLOCK = ["seconds", "images_per_second"]
STEP = {"model": "ann", "width": 8, "batch_size": 16, "lr_schedule": "step", "step_size": 3,
        "image_size": 16, "dropout": 0.3}  # fmt: skip
LENGTHS = (2, 5, 3, 8)


def _curve(study: Finished, trial: str) -> pd.DataFrame:
    epochs = study.epochs
    own = epochs[epochs["trial_id"] == trial].drop(columns=["trial_id", *CLOCK])
    return own.reset_index(drop=True)


def _alone(study: Run, epochs: int, **params: Any) -> Finished:
    configs = [{**STEP, **params, "epochs": epochs}]
    return study("--max-epochs", "8", name=f"alone{epochs}", configs=configs)


def test_a_list_of_lengths_trains_the_longest_alone(
    study: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = study("--max-epochs", "8", configs=[{**STEP, "epochs": n} for n in LENGTHS])
    trials = together.trials
    assert trials["status"].tolist() == ["completed"] * 4
    assert trials["epochs_run"].tolist() == list(LENGTHS)
    assert trials["epochs_trained"].tolist() == [2, 2, 1, 3]
    assert trials["reused_from"].tolist()[1:] == ["t0002", "t0000", "t0001"]
    assert pd.isna(trials["reused_from"].iloc[0])
    (tmp_path / "results").rename(tmp_path / "elsewhere")  # nothing is reused from it
    together = Finished(together.status, tmp_path / "elsewhere" / "study")
    predictions = read_predictions(together.folder)
    for trial, epochs in (("t0002", 3), ("t0003", 8)):
        single = _alone(study, epochs)
        (tmp_path / "results").rename(tmp_path / f"alone{epochs}")
        single = Finished(single.status, tmp_path / f"alone{epochs}" / single.folder.name)
        pd.testing.assert_frame_equal(_curve(together, trial), _curve(single, "t0000"))
        own = predictions[predictions["trial"] == trial].drop(columns="trial")
        other = read_predictions(single.folder).drop(columns="trial")
        pd.testing.assert_frame_equal(own.reset_index(drop=True), other)
        same = ["config_id", "best_epoch", "best_val_auroc", "generalization_gap", "epochs_run"]
        assert trials.loc[trial, same].tolist() == single.trials.loc["t0000", same].tolist()


def test_another_study_of_the_folder_goes_on_from_the_first(study: Run) -> None:
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
def test_a_drawn_trial_takes_what_is_there(
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
    # Ten trials of TPE are drawn at random.
    drawn = study("--num-trials", str(trials), "--searcher", searcher).trials
    assert set(drawn["params.epochs"]) == {2, 4}, "the draws of this seed have both lengths"
    assert drawn["epochs_trained"].sum() <= 6  # 2 from nothing and 4 from nothing
    assert (drawn["epochs_run"] == drawn["params.epochs"]).all()
    assert drawn["reused_from"].notna().sum() >= trials - 2


@pytest.mark.slow
def test_under_asha_reused_epochs_pass_every_rung(study: Run) -> None:
    configs = [{**STEP, "epochs": 8, "lr": lr} for lr in (1e-2, 1e-3, 1e-6, 1e-7)]
    flags = ["--max-epochs", "8", "--scheduler", "asha", "--grace-period", "2",
             "--reduction-factor", "2", "--max-concurrent", "1"]  # fmt: skip
    first = study(*flags, name="first", configs=configs)
    assert "stopped_early" in set(first.trials["status"])
    again = study(*flags, name="again", configs=configs)
    assert again.trials["epochs_trained"].sum() == 0
    columns = ["status", "epochs_run", "best_epoch", "generalization_gap"]
    pd.testing.assert_frame_equal(first.trials[columns], again.trials[columns])
    plain = study("--max-epochs", "8", name="plain", configs=configs)
    stopped = first.trials["epochs_run"].sum()
    assert plain.trials["epochs_trained"].sum() == 4 * 8 - stopped, "stopped trials went on"


def test_members_share_the_fate_of_their_training(study: Run) -> None:
    wild = {"model": "cnn", "width": 8, "optimizer": "sgd", "lr": 100.0, "dropout": 0.2}
    found = study("--max-epochs", "9", configs=[{**wild, "epochs": n} for n in (1, 8, 9)])
    at = int(found.trials.loc["t0002", "epochs_run"])
    assert 1 < at < 8
    assert found.trials["status"].tolist() == ["completed", "diverged", "diverged"]
    assert found.trials["epochs_run"].tolist() == [1, at, at]
    assert found.trials["epochs_trained"].sum() == at


@pytest.mark.slow
def test_the_disk_of_checkpoints_is_bounded(study: Run) -> None:
    configs = [{**STEP, "epochs": 3, "lr": lr} for lr in (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)]
    free = study("--max-epochs", "8", name="free", configs=configs)
    tight = study("--max-epochs", "8", "--checkpoint-gib", "1e-6", "--cpus-per-trial", "2",
                  name="tight", configs=configs)  # fmt: skip

    def left(found: Finished, name: str) -> int:
        return len(list((found.folder / "checkpoints").glob(f"*/3/{name}.safetensors")))

    assert left(free, "optimizer") == 7
    assert left(tight, "optimizer") <= 1
    assert 5 <= left(tight, "best") <= 6
    assert tight.trials["status"].eq("completed").all()
    assert (tight.folder / "best" / "model.safetensors").is_file()
