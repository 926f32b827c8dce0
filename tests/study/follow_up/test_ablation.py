"""Ablation: the winner is trained with one change at a time, and no change can win."""

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
from tune_bio.ray_tune.jobs import config_of_job, members_of, name_of_job
from tune_bio.records.schema import TRIALS
from tune_bio.records.tables import Records, read_predictions
from tune_bio.records.trial_names import TrialName
from tune_bio.space.search_space import SearchSpace, Trial
from tune_bio.space.settings import SearchSettings
from tune_bio.study.follow_up.ablation import Ablation, ablation_jobs, plan_ablation
from tune_bio.study.follow_up.confirmation import ConfirmedFinalist, Finalist
from tune_bio.study.planning.plan import complete_config

Run = Callable[..., Any]
FLAGS = (
    "--finalists", "1", "--replicates", "2", "--ablate", "--num-trials", "3", "--max-epochs", "2",
    "--set", "model=ann",
)  # fmt: skip


def test_a_study_ablates_its_winner_and_resumes_an_interrupted_ablation(study: Run) -> None:
    finished = study(*FLAGS)
    assert finished.status == 0
    trials, entry = finished.trials, finished.manifest["ablation"]
    winner = finished.manifest["confirmed"][0]
    assert entry["winner"] == winner["trial"]
    assert entry["scores"] == winner["scores"]
    changes = {(c["hyperparameter"], c["after"]) for c in entry["changes"]}
    base = trials.loc[winner["trial"]]
    other_batch_size = 48 - base["params.batch_size"]  # of 16 and 32
    assert ("batch_size", other_batch_size) in changes
    assert {name for name, _ in changes} == {"lr", "batch_size"}  # the model is pinned
    for change in entry["changes"]:
        assert change["lost"] == {}
        assert change["others"] == ""
        for trial, value in change["scores"].items():
            row = trials.loc[trial]
            assert row["best_val_auroc"] == pytest.approx(value)
            replicate = f"{entry['winner']}r{TrialName.parse(trial).replicate}"
            assert row["seed"] == trials.loc[replicate, "seed"]
            assert row["epochs_run"] == 2
            assert row[f"params.{change['hyperparameter']}"] == pytest.approx(change["after"])
    assert sum(trials["replicate"] == 0) == 3
    changed_trials = {trial for change in entry["changes"] for trial in change["trials"]}
    assert {trial for trial in trials.index if TrialName.parse(trial).ablation} == changed_trials
    assert not TrialName.parse(finished.manifest["best_trial"]).ablation
    predictions = read_predictions(finished.folder)
    assert set(predictions.loc[predictions["split"] == "test", "trial"]) == set(winner["scores"])
    assert changed_trials <= set(predictions.loc[predictions["split"] == "val", "trial"])
    summary = (finished.folder / "summary.md").read_text()
    assert "## Ablation of the winner" in summary
    assert "**Ablation.**" in summary
    assert summary.count(" → ") >= len(changes)

    # One of the trials is removed from the table, and the study is resumed.
    removed, table_path = max(changed_trials), finished.folder / TRIALS
    table = pq.read_table(table_path)
    pq.write_table(table.filter(pc.not_equal(table["trial_id"], removed)), table_path)
    resumed = study(*FLAGS, "--resume")
    assert resumed.manifest["ablation"] == entry
    assert resumed.trials.loc[removed, "status"] == "completed"
    pd.testing.assert_frame_equal(resumed.trials.drop(index=removed), trials.drop(index=removed))


def space(trial: Trial) -> None:
    trial.suggest_categorical("model", ["ann", "cnn"])
    trial.suggest_float("lr", 1e-4, 1e-2, log=True)
    if trial.suggest_categorical("optimizer", ["adam", "sgd"]) == "sgd":
        trial.suggest_float("momentum", 0.0, 0.9)
    trial.suggest_categorical("batch_size", [8, 16, 32, 64, 128, 256])
    trial.suggest_int("epochs", 2, 6)


def plan_of(listed: list[dict[str, Any]] | None = None, **overrides: Any) -> Any:
    """Return the parts of a plan that an ablation reads."""
    settings = SearchSettings.of({"max_epochs": 6, "ablate": True, **overrides})
    plan = SimpleNamespace(
        settings=settings,
        listed=None if listed is None else tuple(listed),
        space=SearchSpace(Path("space.py"), "", space, settings),
        geometries=(Geometry(16, 0, 0),),
        weights=SimpleNamespace(files={}),
        searched=("lr", "optimizer", "momentum"),
        selects_nothing=listed is not None and settings.finalists == "all",
    )
    plan.config = lambda params: complete_config(params, settings, 16)
    plan.configs = tuple(map(plan.config, listed or ()))
    return plan


def ablated(
    plan: Any, folder: Path, winner: dict[str, Any], *others: dict[str, Any]
) -> tuple[Ablation, Records]:
    """Record a search of these trials, the winner first; return its planned ablation."""
    no_names = np.array([], dtype=str)
    records = Records(folder, ("a", "b"), no_names, no_names, np.array([], dtype=np.int64))
    for k, params in enumerate((winner, *others)):
        config = plan.config(params)
        for trial in [f"t{k:04d}"] + [f"t0000r{r}" for r in (1, 2) if k == 0]:
            replicate = TrialName.parse(trial).replicate
            seeded = config.with_seed(replicate)
            records.start_trial(trial, config.config_id, seeded, replicate)
            records.add_epochs(trial, [{"epoch": 1, "val_auroc": 0.9 - 0.1 * k}])
            records.update_trial(trial, status="completed", best_epoch=1)
    finalist = Finalist("first", "t0000", ("t0000r1", "t0000r2"))
    confirmed = ConfirmedFinalist(finalist, {"t0000r1": 0.9, "t0000r2": 0.9}, "max")
    return plan_ablation(plan, records, confirmed), records


WINNER = {"model": "ann", "lr": 1e-3, "optimizer": "adam", "batch_size": 16, "epochs": 4}


def test_one_hyperparameter_is_changed_at_a_time(tmp_path: Path) -> None:
    other = {**WINNER, "optimizer": "sgd", "momentum": 0.7, "batch_size": 256}
    ablation, records = ablated(plan_of(), tmp_path, WINNER, other)
    changes = [(c.hyperparameter, c.after, c.others) for c in ablation.changes]
    assert changes == [
        ("model", "cnn", "width=32, head_width=32, no depth"),
        ("lr", pytest.approx(3e-3), ""),
        ("lr", pytest.approx(1e-3 / 3), ""),
        ("optimizer", "sgd", "momentum=0.7"),  # as in the best trial that has a momentum
        ("batch_size", 256, ""),  # tried in the search, so it is the first of four
        ("batch_size", 8, ""),
        ("batch_size", 32, ""),
        ("batch_size", 64, ""),
        ("epochs", 5, ""),
        ("epochs", 3, ""),
    ]
    assert ablation.notes == ("ablation of batch_size: 1 further choices were not tried",)
    jobs = ablation_jobs(records, ablation)
    names = {member.trial for job in jobs for member in members_of(job)}
    assert names == {trial for change in ablation.changes for trial in change.trials}
    assert {TrialName.parse(name).replicate for name in names} == {1, 2}
    assert all(config_of_job(job).seed == name_of_job(job).replicate for job in jobs)
    # Trials that differ only in their length are one training.
    assert len(jobs) == len(names) - 2


def test_a_number_at_the_end_of_its_range_is_moved_only_inwards(tmp_path: Path) -> None:
    ablation, _ = ablated(plan_of(), tmp_path, {**WINNER, "lr": 0.0099, "epochs": 6})
    changes = [(c.hyperparameter, c.after) for c in ablation.changes]
    assert [change for change in changes if change[0] != "batch_size"] == [
        ("model", "cnn"), ("lr", pytest.approx(0.0033)), ("optimizer", "sgd"), ("epochs", 5)
    ]  # fmt: skip


def test_the_ablation_of_a_list_tries_the_values_of_its_other_configurations(
    tmp_path: Path,
) -> None:
    listed = [
        {"model": "ann", "lr": 0.001, "optimizer": "sgd", "momentum": 0.5},
        {"model": "ann", "lr": 0.01, "optimizer": "adam"},
    ]
    ablation, _ = ablated(plan_of(listed), tmp_path, listed[0], listed[1])
    changes = [(c.hyperparameter, c.after, c.others) for c in ablation.changes]
    assert changes == [("lr", 0.01, ""), ("optimizer", "adam", "no momentum")]


def test_a_fully_replicated_grid_is_not_ablated(tmp_path: Path) -> None:
    listed = [{"model": "ann", "lr": 0.001}, {"model": "ann", "lr": 0.01}]
    ablation, records = ablated(plan_of(listed, finalists="all"), tmp_path, *listed)
    assert ablation.changes == ()
    assert "effects reported instead" in ablation.notes[0]
    assert ablation_jobs(records, ablation) == []
