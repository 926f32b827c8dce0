"""The winner is trained with one change at a time, and no change can win."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.records.schema import TRIALS
from tune_bio.records.tables import Records, read_predictions
from tune_bio.records.trial_names import is_ablation, replicate_of
from tune_bio.space.search_space import SearchSpace, Trial
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study.follow_up.ablation import Ablation, ablation_jobs, plan_ablation
from tune_bio.study.follow_up.confirmation import ConfirmedFinalist, Finalist
from tune_bio.study.planning.plan import finish

Run = Callable[..., Any]
FLAGS = (
    "--finalists", "1", "--replicates", "2", "--ablate", "--num-trials", "3", "--max-epochs", "2",
    "--set", "model=ann",
)  # fmt: skip


def test_a_study_ablates_its_winner_and_goes_on_where_it_was_interrupted(study: Run) -> None:
    finished = study(*FLAGS)
    assert finished.status == 0
    trials, entry = finished.trials, finished.manifest["ablation"]
    winner = finished.manifest["confirmed"][0]
    assert entry["winner"] == winner["trial"]
    assert entry["scores"] == winner["scores"]
    changes = {(c["hyperparameter"], c["after"]) for c in entry["changes"]}
    base = trials.loc[winner["trial"]]
    assert ("batch_size", 48 - base["params.batch_size"]) in changes  # of 16 and 32, the other
    assert {name for name, _ in changes} == {"lr", "batch_size"}  # the model is pinned
    for change in entry["changes"]:
        assert change["lost"] == {}
        assert change["others"] == ""
        for trial, value in change["scores"].items():
            row = trials.loc[trial]
            assert row["best_val_auroc"] == pytest.approx(value)
            assert row["seed"] == trials.loc[f"{entry['winner']}r{replicate_of(trial)}", "seed"]
            assert row["epochs_run"] == 2
            assert row[f"params.{change['hyperparameter']}"] == pytest.approx(change["after"])
    assert sum(trials["replicate"] == 0) == 3
    named = {trial for change in entry["changes"] for trial in change["trials"]}
    assert {trial for trial in trials.index if is_ablation(trial)} == named
    assert not is_ablation(finished.manifest["best_trial"])
    predictions = read_predictions(finished.folder)
    assert set(predictions.loc[predictions["split"] == "test", "trial"]) == set(winner["scores"])
    assert named <= set(predictions.loc[predictions["split"] == "val", "trial"])
    summary = (finished.folder / "summary.md").read_text()
    assert "## Ablation of the winner" in summary
    assert "**Ablation.**" in summary
    assert summary.count(" → ") >= len(changes)

    # One of them is lost, and the study is asked for again.
    lost, file = max(named), finished.folder / TRIALS
    table = pq.read_table(file)
    pq.write_table(table.filter(pc.not_equal(table["trial_id"], lost)), file)
    again = study(*FLAGS, "--resume")
    assert again.manifest["ablation"] == entry
    assert again.trials.loc[lost, "status"] == "completed"
    pd.testing.assert_frame_equal(again.trials.drop(index=lost), trials.drop(index=lost))


def space(trial: Trial) -> None:
    trial.suggest_categorical("model", ["ann", "cnn"])
    trial.suggest_float("lr", 1e-4, 1e-2, log=True)
    if trial.suggest_categorical("optimizer", ["adam", "sgd"]) == "sgd":
        trial.suggest_float("momentum", 0.0, 0.9)
    trial.suggest_categorical("batch_size", [8, 16, 32, 64, 128, 256])
    trial.suggest_int("epochs", 2, 6)


def plan_of(listed: list[dict[str, Any]] | None = None, **given: Any) -> Any:
    """What of a plan an ablation reads."""
    settings = SearchSettings.of({"max_epochs": 6, "ablate": True, **given})
    plan = SimpleNamespace(
        settings=settings,
        listed=None if listed is None else tuple(listed),
        space=SearchSpace(Path("space.py"), "", space, settings),
        geometries=(Geometry(16, 0, 0),),
        weights=SimpleNamespace(files={}),
        searched=("lr", "optimizer", "momentum"),
        selects_nothing=listed is not None and settings.finalists == "all",
    )
    plan.finish = lambda params: finish(params, settings, 16)
    return plan


def ablated(
    plan: Any, folder: Path, winner: dict[str, Any], *others: dict[str, Any]
) -> tuple[Ablation, Records]:
    """A search of these trials, the winner first, and what its ablation would be."""
    nobody = np.array([], dtype=str)
    records = Records(folder, ("a", "b"), nobody, nobody, np.array([], dtype=np.int64))
    for k, params in enumerate((winner, *others)):
        config = TrialConfig.of(plan.finish(params))
        for trial in [f"t{k:04d}"] + [f"t0000r{r}" for r in (1, 2) if k == 0]:
            seeded = config.model_copy(update={"seed": replicate_of(trial)})
            records.start_trial(trial, config.config_id, seeded, replicate_of(trial))
            records.add_epochs(trial, [{"epoch": 1, "val_auroc": 0.9 - 0.1 * k}])
            records.update_trial(trial, status="completed", best_epoch=1)
    finalist = Finalist("first", "t0000", ("t0000r1", "t0000r2"))
    confirmed = ConfirmedFinalist(finalist, {"t0000r1": 0.9, "t0000r2": 0.9}, "max")
    return plan_ablation(plan, records, confirmed), records


WINNER = {"model": "ann", "lr": 1e-3, "optimizer": "adam", "batch_size": 16, "epochs": 4}


def test_each_hyperparameter_is_changed_alone(tmp_path: Path) -> None:
    other = {**WINNER, "optimizer": "sgd", "momentum": 0.7, "batch_size": 256}
    found, records = ablated(plan_of(), tmp_path, WINNER, other)
    told = [(c.hyperparameter, c.after, c.others) for c in found.changes]
    assert told == [
        ("model", "cnn", "width=32, head_width=32, no depth"),
        ("lr", pytest.approx(3e-3), ""),
        ("lr", pytest.approx(1e-3 / 3), ""),
        ("optimizer", "sgd", "momentum=0.7"),  # as in the best trial that has one
        ("batch_size", 256, ""),  # seen in the search, and so the first of four
        ("batch_size", 8, ""),
        ("batch_size", 32, ""),
        ("batch_size", 64, ""),
        ("epochs", 5, ""),
        ("epochs", 3, ""),
    ]
    assert found.notes == ("ablation of batch_size: 1 further choices were not tried",)
    jobs = ablation_jobs(records, found)
    names = {name for one in jobs for name, _ in one.get("members", [(one["trial"], 0)])}
    assert names == {trial for change in found.changes for trial in change.trials}
    assert {replicate_of(name) for name in names} == {1, 2}
    assert all(one["params"]["seed"] == replicate_of(one["trial"]) for one in jobs)
    # Trainings that differ in their length alone are one.
    assert len(jobs) == len(names) - 2


def test_a_number_at_the_end_of_its_range_is_moved_to_the_other_side_alone(tmp_path: Path) -> None:
    found, _ = ablated(plan_of(), tmp_path, {**WINNER, "lr": 0.0099, "epochs": 6})
    moved = [(c.hyperparameter, c.after) for c in found.changes if c.hyperparameter != "batch_size"]
    assert moved == [
        ("model", "cnn"), ("lr", pytest.approx(0.0033)), ("optimizer", "sgd"), ("epochs", 5)
    ]  # fmt: skip


def test_of_a_list_the_values_of_the_others_are_tried(tmp_path: Path) -> None:
    listed = [
        {"model": "ann", "lr": 0.001, "optimizer": "sgd", "momentum": 0.5},
        {"model": "ann", "lr": 0.01, "optimizer": "adam"},
    ]
    found, _ = ablated(plan_of(listed), tmp_path, listed[0], listed[1])
    told = [(c.hyperparameter, c.after, c.others) for c in found.changes]
    assert told == [("lr", 0.01, ""), ("optimizer", "adam", "no momentum")]


def test_a_grid_that_was_replicated_whole_is_not_ablated(tmp_path: Path) -> None:
    listed = [{"model": "ann", "lr": 0.001}, {"model": "ann", "lr": 0.01}]
    found, records = ablated(plan_of(listed, finalists="all"), tmp_path, *listed)
    assert found.changes == ()
    assert "effects are told instead" in found.notes[0]
    assert ablation_jobs(records, found) == []
