"""The search as an Optuna study: read by Optuna again, and opened by its dashboard."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from tune_bio.analysis.optuna_log import OPTUNA_LOG, write_optuna_study

from tests.data_factory import few_examples
from tune_bio.analysis.study_records import read_study
from tune_bio.records.curve_summary import summarize
from tune_bio.records.manifest_file import write_manifest
from tune_bio.records.tables import Records, read_trials
from tune_bio.space.branches import walk_branches
from tune_bio.space.search_space import Trial, search_space_of
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import TrialConfig
from tune_bio.space.value_sources import OptunaSource

STARTED = "2026-03-01T12:00:00+00:00"
CURVES: Mapping[str, list[float | None]] = {
    "completed": [0.5, 0.7, 0.8, 0.6],
    "stopped_early": [0.5, 0.65],
    "diverged": [0.55, None],
    "failed": [],
    "interrupted": [0.9],
    "running": [0.4],
}
STATES = {
    "completed": TrialState.COMPLETE,
    "stopped_early": TrialState.PRUNED,
    "diverged": TrialState.FAIL,
    "failed": TrialState.FAIL,
    "interrupted": TrialState.FAIL,
    "running": TrialState.RUNNING,
}


def write_study(
    folder: Path,
    configs: list[dict[str, Any]],
    *,
    statuses: list[str] | None = None,
    metric: str = "val_auroc",
    space: Mapping[str, Any] | None = None,
    confirmed: list[dict[str, Any]] | None = None,
) -> Records:
    """The records of a study whose trials have these hyperparameters and ends."""
    folder.mkdir(exist_ok=True)
    names = np.array(["a", "b"])
    records = Records(folder, ("well", "ill"), names, names, np.array([0, 1]))
    for number, params in enumerate(configs):
        status = statuses[number] if statuses else "completed"
        trial = f"t{number:04d}"
        records.start_trial(trial, f"c{number}", TrialConfig.of(params))
        curve = [value and value + 0.01 * number for value in CURVES[status]]
        rows = [
            {"epoch": epoch, metric: value, "seconds": 1.0}
            for epoch, value in enumerate(curve, start=1)
        ]
        summary = summarize(rows, metric, "max" if metric == "val_auroc" else "min")
        error = f"why it {status}" if STATES[status] == TrialState.FAIL else None
        records.add_epochs(trial, rows)
        records.update_trial(trial, **summary, status=status, error=error)
        records.timeline[trial] = [10.0 * number, 10.0 * number + 5]
    records.write()
    write_manifest(
        folder,
        {
            "name": folder.name,
            "started": STARTED,
            "settings": SearchSettings(metric=metric).model_dump(),
            "space": space or {"listed": len(configs)},
            "data": {"source": "phantom", "synthetic": True},
            "audit": {"findings": []},
            "best_trial": "t0000",
            "confirmed": confirmed or [],
        },
    )
    return records


def export(folder: Path) -> Path:
    return write_optuna_study(read_study(folder), folder)


def read_back(folder: Path) -> optuna.Study:
    """The study in the file, by Optuna alone."""
    backend = JournalFileBackend(str(folder / OPTUNA_LOG))
    return optuna.load_study(study_name=folder.name, storage=JournalStorage(backend))


@pytest.mark.parametrize(("metric", "best"), [("val_auroc", 6), ("val_loss", 0)])
def test_optuna_reads_what_the_records_say(tmp_path: Path, metric: str, best: int) -> None:
    statuses = [*STATES, "completed"]
    configs = [{"model": "cnn", "lr": 10.0**-k} for k in range(1, 8)]
    folder = tmp_path / "ends"
    write_study(folder, configs, statuses=statuses, metric=metric)
    assert export(folder) == folder / OPTUNA_LOG
    study, rows = read_back(folder), read_trials(folder)
    assert study.direction.name == ("MAXIMIZE" if metric == "val_auroc" else "MINIMIZE")
    assert study.metric_names == [metric]
    assert [trial.state for trial in study.trials] == [STATES[status] for status in statuses]
    assert [t.user_attrs["trial_id"] for t in study.trials] == rows["trial_id"].tolist()
    assert [t.user_attrs["status"] for t in study.trials] == statuses
    assert [t.params["lr"] for t in study.trials] == rows["params.lr"].tolist()
    for number, (trial, status) in enumerate(zip(study.trials, statuses, strict=True)):
        curve = {e: v + 0.01 * number for e, v in enumerate(CURVES[status], 1) if v is not None}
        assert trial.intermediate_values == curve
        whole = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        choose = max if metric == "val_auroc" else min
        assert trial.value == (choose(curve.values()) if whole else None)
        told = f"why it {status}" if trial.state == TrialState.FAIL else None
        assert trial.user_attrs.get("error") == told
    assert study.best_trial.number == best
    assert study.user_attrs["synthetic data"] is True


def test_times_are_those_of_the_record(tmp_path: Path) -> None:
    write_study(tmp_path, [{"model": "ann"}, {"model": "cnn"}], statuses=["completed", "running"])
    export(tmp_path)
    first, second = read_back(tmp_path).trials
    began = datetime.fromisoformat(STARTED)
    assert first.datetime_start.astimezone(UTC) == began
    assert first.datetime_complete.astimezone(UTC) == began + timedelta(seconds=5)
    assert second.datetime_start.astimezone(UTC) == began + timedelta(seconds=10)
    assert second.datetime_complete is None


def test_a_confirmed_trial_has_the_scores_of_its_replicates(tmp_path: Path) -> None:
    scores = {"t0001r1": 0.7, "t0001r2": 0.8}
    confirmed = [{"trial": "t0001", "scores": scores, "mean": 0.75}]
    write_study(tmp_path, [{"model": "ann"}, {"model": "cnn"}], confirmed=confirmed)
    export(tmp_path)
    first, second = read_back(tmp_path).trials
    assert "replicates" not in first.user_attrs
    assert second.user_attrs["replicates"] == scores
    assert second.user_attrs["replicates_mean"] == 0.75


def searched(trial: Trial) -> None:
    """Every kind of hyperparameter, some on one branch only, one with two ranges."""
    model = trial.suggest_categorical("model", ["ann", "cnn", "resnet18"])
    if model == "resnet18":
        trial.suggest_float("lr", 1e-5, 1e-3, log=True)
        trial.suggest_categorical("weights", ["none"])
    else:
        trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        trial.suggest_categorical("width", [16, 64, "32-16"])
    if trial.suggest_categorical("optimizer", ["sgd", "adamw"]) == "adamw":
        trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    trial.suggest_int("epochs", 2, 9)
    trial.suggest_categorical("batch_size", [16, 32])


def draw(seeds: list[int]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Configurations as Optuna draws them, and the space as the manifest has it."""
    space = search_space_of(searched)
    configs = []
    for seed in seeds:
        sampler = optuna.samplers.RandomSampler(seed=seed)
        trial = optuna.create_study(sampler=sampler).ask()
        configs.append(space.run(OptunaSource(trial, {})))
    found = walk_branches(space).distributions.items()
    stated = {name: [asdict(one) for one in several] for name, several in found}
    return configs, {"listed": None, "distributions": stated}


@given(seeds=st.lists(st.integers(0, 10**6), min_size=1, max_size=12))
@few_examples
def test_every_value_that_was_drawn_comes_back(
    tmp_path_factory: pytest.TempPathFactory, seeds: list[int]
) -> None:
    configs, space = draw(seeds)
    folder = tmp_path_factory.mktemp("drawn")
    write_study(folder, configs, space=space)
    export(folder)
    for trial, drawn in zip(read_back(folder).trials, configs, strict=True):
        wanted = {name: value for name, value in drawn.items() if name != "weights"}
        found = {name: trial.params[name] for name in wanted}
        assert {n: str(v) for n, v in found.items()} == {n: str(v) for n, v in wanted.items()}
        assert "weights" not in trial.params  # one choice is none
        spans = trial.distributions
        assert spans["lr"] == FloatDistribution(1e-5, 1e-1, log=True)
        assert spans["epochs"] == IntDistribution(2, 9)
        # The default without the branch, 0, is no value of this range.
        assert ("weight_decay" in trial.params) == (drawn["optimizer"] == "adamw")


def test_of_a_list_the_records_tell_what_varied(tmp_path: Path) -> None:
    configs: list[dict[str, Any]] = [
        {"model": "cnn", "lr": 1e-3, "epochs": 10, "optimizer": "sgd"},
        {"model": "cnn", "lr": 1e-2, "epochs": 20, "optimizer": "adam"},
        {"model": "cnn", "lr": 1e-4, "epochs": 60, "optimizer": "adam"},
    ]
    write_study(tmp_path, configs)
    export(tmp_path)
    trials = read_back(tmp_path).trials
    names = ("lr", "epochs", "optimizer")
    assert [{name: t.params[name] for name in names} for t in trials] == [
        {name: config[name] for name in names} for config in configs
    ]
    assert trials[0].distributions["lr"] == FloatDistribution(1e-4, 1e-2, log=True)
    assert trials[0].distributions["epochs"] == IntDistribution(10, 60)
    assert trials[0].distributions["optimizer"] == CategoricalDistribution(("sgd", "adam"))
    assert "model" not in trials[0].params


def test_a_number_of_epochs_that_was_capped_is_a_choice_more(tmp_path: Path) -> None:
    space = {"listed": None, "distributions": {"epochs": [{"values": [10, 60]}]}}
    write_study(tmp_path, [{"model": "cnn", "epochs": n} for n in (10, 40)], space=space)
    export(tmp_path)
    trials = read_back(tmp_path).trials
    assert [trial.params for trial in trials] == [{"epochs": 10}, {"epochs": 40}]


def test_a_study_without_trials_is_a_study(tmp_path: Path) -> None:
    write_study(tmp_path, [], space={"listed": None, "distributions": {}})
    export(tmp_path)
    assert read_back(tmp_path).trials == []


def test_what_was_there_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    for configs in ([{"model": "ann"}], [{"model": "ann"}, {"model": "cnn"}]):
        write_study(tmp_path, configs)
        before = {path.name for path in tmp_path.iterdir()} - {OPTUNA_LOG}
        export(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == before | {OPTUNA_LOG}
    backend = JournalFileBackend(str(tmp_path / OPTUNA_LOG))
    (study,) = optuna.get_all_study_summaries(JournalStorage(backend))
    assert study.n_trials == 2


def test_optunas_own_level_of_logging_is_left(tmp_path: Path, capfd: Any) -> None:
    before = optuna.logging.get_verbosity()
    write_study(tmp_path, [{"model": "ann"}])
    export(tmp_path)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr().err == ""


def test_optunas_dashboard_opens_it(tmp_path: Path) -> None:
    folder = tmp_path / "shown"
    statuses = ["completed", "stopped_early", "diverged"]
    configs = [{"model": "cnn", "lr": 10.0**-k} for k in range(1, 4)]
    write_study(folder, configs, statuses=statuses)
    with serving(export(folder)) as ask:
        (study,) = ask("studies")["study_summaries"]
        assert study["study_name"] == "shown"
        detail = ask(f"studies/{study['study_id']}")
    assert detail["directions"] == ["maximize"]
    assert [trial["state"] for trial in detail["trials"]] == ["Complete", "Pruned", "Fail"]
    assert detail["objective_names"] == ["val_auroc"]
    assert detail["has_intermediate_values"]


@contextmanager
def serving(log: Path) -> Iterator[Callable[[str], Any]]:
    """The dashboard over a file, on this machine alone: ask it what is below /api."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [Path(sys.executable).with_name("optuna-dashboard"), log]
    address = ["--host", "127.0.0.1", "--port", str(port), "--quiet"]
    process = subprocess.Popen([*command, *address])

    def ask(what: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{what}", timeout=10) as answer:
            return json.load(answer)

    try:
        for _ in range(300):
            try:
                ask("studies")
                break
            except OSError:
                assert process.poll() is None, "the dashboard ended"
                time.sleep(0.1)
        yield ask
    finally:
        process.kill()
        process.wait()
