"""The Optuna journal: Optuna reads it, and its dashboard shows it while a search runs."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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

from tests.data_factory import few_examples
from tune_bio.records import optuna_journal
from tune_bio.records.curve_summary import summarize
from tune_bio.records.optuna_distributions import listed_distributions, searched_distributions
from tune_bio.records.optuna_journal import OPTUNA_JOURNAL, OptunaJournal
from tune_bio.records.tables import Records
from tune_bio.space.branches import walk_branches
from tune_bio.space.search_space import Trial, search_space_of
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import TrialConfig
from tune_bio.space.value_sources import OptunaSource

CURVES: Mapping[str, list[float | None]] = {
    "completed": [0.5, 0.7, 0.8, 0.6],
    "stopped_early": [0.5, 0.65],
    "diverged": [0.55, None],
    "failed": [],
    "interrupted": [0.9],
}
STATES = {
    "completed": TrialState.COMPLETE,
    "stopped_early": TrialState.PRUNED,
    "diverged": TrialState.FAIL,
    "failed": TrialState.FAIL,
    "interrupted": TrialState.FAIL,
}
ATTRIBUTES = {"data": "phantom", "synthetic data": True}


def empty_records(folder: Path) -> Records:
    folder.mkdir(exist_ok=True)
    names = np.array(["a", "b"])
    return Records(folder, ("well", "ill"), names, names, np.array([0, 1]))


def journal_of(
    records: Records, configs: list[TrialConfig], metric: str = "val_auroc"
) -> OptunaJournal:
    settings = SearchSettings(metric=metric)
    return OptunaJournal(records, settings, listed_distributions(configs), ATTRIBUTES)


class Run:
    """A stand-in for the recorder: trials start, report epochs and end, in records and journal."""

    def __init__(self, records: Records, journal: OptunaJournal, metric: str = "val_auroc") -> None:
        self.records, self.journal, self.metric = records, journal, metric

    def start(self, trial: str, config: TrialConfig) -> None:
        self.records.start_trial(trial, config.config_id, config)
        self.journal.start(trial)

    def report(self, trial: str, epoch: int, value: float | None) -> None:
        self.records.add_epochs(trial, [{"epoch": epoch, self.metric: value, "seconds": 1.0}])
        mode = "max" if self.metric == "val_auroc" else "min"
        summary = summarize(self.records.curve(trial), self.metric, mode)
        self.records.update_trial(trial, **summary)
        self.journal.report(trial)

    def end(self, trial: str, status: str) -> None:
        error = f"the reason why it {status}" if STATES[status] == TrialState.FAIL else None
        self.records.update_trial(trial, status=status, error=error)
        self.journal.end(trial)

    def whole(self, number: int, config: TrialConfig, status: str = "completed") -> None:
        """Run a trial from its start to its end; its values rise with its number."""
        trial = f"t{number:04d}"
        self.start(trial, config)
        for epoch, value in enumerate(CURVES[status], start=1):
            self.report(trial, epoch, value and value + 0.01 * number)
        self.end(trial, status)


def read_back(folder: Path) -> optuna.Study:
    """Read the study from the file with Optuna only."""
    backend = JournalFileBackend(str(folder / OPTUNA_JOURNAL))
    return optuna.load_study(study_name=folder.name, storage=JournalStorage(backend))


def configs_of(*params: dict[str, Any]) -> list[TrialConfig]:
    return [TrialConfig.of(values) for values in params]


RATES = configs_of(*({"model": "cnn", "lr": 10.0**-k} for k in range(1, 7)))


@pytest.mark.parametrize(("metric", "best"), [("val_auroc", 5), ("val_loss", 0)])
def test_optuna_reads_the_contents_of_the_records(tmp_path: Path, metric: str, best: int) -> None:
    records = empty_records(tmp_path / "ends")
    run = Run(records, journal_of(records, RATES, metric), metric)
    statuses = [*STATES, "completed"]
    for number, status in enumerate(statuses):
        run.whole(number, RATES[number], status)
    run.journal.close()
    study = read_back(records.folder)
    assert study.direction.name == ("MAXIMIZE" if metric == "val_auroc" else "MINIMIZE")
    assert study.metric_names == [metric]
    assert study.user_attrs == ATTRIBUTES
    assert [trial.state for trial in study.trials] == [STATES[status] for status in statuses]
    assert [trial.params["lr"] for trial in study.trials] == [config.lr for config in RATES]
    for number, (trial, status) in enumerate(zip(study.trials, statuses, strict=True)):
        row = records.trials[f"t{number:04d}"]
        curve = {e: v + 0.01 * number for e, v in enumerate(CURVES[status], 1) if v is not None}
        assert trial.intermediate_values == curve
        comparable = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        choose = max if metric == "val_auroc" else min
        assert trial.value == (choose(curve.values()) if comparable else None)
        for name in ("trial_id", "status", "config_id", "error", "best_epoch"):
            assert trial.user_attrs.get(name) == row.get(name)
        assert trial.datetime_start is not None
        assert trial.datetime_complete is not None
    assert study.best_trial.number == best


def test_a_running_search_is_in_the_file_as_soon_as_it_is_flushed(tmp_path: Path) -> None:
    records = empty_records(tmp_path)
    run = Run(records, journal_of(records, RATES))
    run.whole(0, RATES[0])
    run.start("t0001", RATES[1])
    run.report("t0001", 1, 0.6)
    assert not (tmp_path / OPTUNA_JOURNAL).exists()
    run.journal.flush()
    first, second = read_back(tmp_path).trials
    assert (first.state, second.state) == (TrialState.COMPLETE, TrialState.RUNNING)
    assert second.intermediate_values == {1: 0.6}
    before = (tmp_path / OPTUNA_JOURNAL).read_bytes()
    run.report("t0001", 2, 0.7)
    run.end("t0001", "completed")
    run.journal.flush()
    assert (tmp_path / OPTUNA_JOURNAL).read_bytes().startswith(before)
    assert read_back(tmp_path).trials[1].value == 0.7


def test_trials_that_follow_the_search_are_left_out(tmp_path: Path) -> None:
    records = empty_records(tmp_path)
    run = Run(records, journal_of(records, RATES))
    run.whole(0, RATES[0])
    for name in ("t0000r1", "t0000a1r1", "t0000s1r1"):
        run.start(name, RATES[0])
        run.report(name, 1, 0.9)
        run.end(name, "completed")
    run.journal.set_attributes({"confirmed": {"t0000": {"mean": 0.9}}})
    run.journal.close()
    study = read_back(tmp_path)
    assert [trial.user_attrs["trial_id"] for trial in study.trials] == ["t0000"]
    assert study.user_attrs["confirmed"] == {"t0000": {"mean": 0.9}}


def test_a_resumed_study_rewrites_ended_trials_and_continues(tmp_path: Path) -> None:
    records = empty_records(tmp_path)
    run = Run(records, journal_of(records, RATES))
    run.whole(0, RATES[0])
    run.whole(1, RATES[1], "interrupted")
    run.whole(2, RATES[2], "interrupted")
    run.journal.close()
    records.write()
    (tmp_path / OPTUNA_JOURNAL).write_text("damaged")

    restored = empty_records(tmp_path)
    restored.restore()
    again = Run(restored, journal_of(restored, RATES))
    again.start("t0001", RATES[1])
    again.report("t0001", 1, 0.3)
    again.end("t0001", "completed")
    again.journal.close()  # the third trial was not resumed
    trials = {trial.user_attrs["trial_id"]: trial for trial in read_back(tmp_path).trials}
    assert {name: trial.state for name, trial in trials.items()} == {
        "t0000": TrialState.COMPLETE,
        "t0001": TrialState.COMPLETE,
        "t0002": TrialState.FAIL,
    }
    assert trials["t0000"].intermediate_values == {1: 0.5, 2: 0.7, 3: 0.8, 4: 0.6}
    assert trials["t0001"].value == 0.3


def test_after_a_failed_write_the_whole_file_is_rewritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = empty_records(tmp_path)
    run = Run(records, journal_of(records, RATES))
    run.whole(0, RATES[0])
    run.journal.flush()
    run.whole(1, RATES[1])

    def write_half(path: Path, logs: Any) -> None:
        with path.open("a") as stream:
            stream.write('{"op_code": 4, "wor')
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(optuna_journal, "_append", write_half)
        with pytest.raises(OSError, match="disk full"):
            run.journal.flush()
    run.whole(2, RATES[2])
    run.journal.flush()
    assert [trial.state for trial in read_back(tmp_path).trials] == [TrialState.COMPLETE] * 3
    assert {path.name for path in tmp_path.iterdir()} == {OPTUNA_JOURNAL}


def test_optunas_logging_level_is_unchanged(tmp_path: Path, capfd: Any) -> None:
    before = optuna.logging.get_verbosity()
    records = empty_records(tmp_path)
    journal_of(records, RATES).close()
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr().err == ""
    assert read_back(tmp_path).trials == []


def searched(trial: Trial) -> None:
    """Suggest every kind of hyperparameter, some on one branch only, one with two ranges."""
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


@given(seeds=st.lists(st.integers(0, 10**6), min_size=1, max_size=12))
@few_examples
def test_every_drawn_value_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, seeds: list[int]
) -> None:
    space = search_space_of(searched)
    branches = walk_branches(space)
    drawn = []
    for seed in seeds:
        sampler = optuna.samplers.RandomSampler(seed=seed)
        drawn.append(space.run(OptunaSource(optuna.create_study(sampler=sampler).ask(), {})))
    records = empty_records(tmp_path_factory.mktemp("drawn"))
    ends = [TrialConfig.of(leaf) for leaf in (*branches.leaves, *branches.highs)]
    spans = searched_distributions(branches.distributions, ends)
    journal = OptunaJournal(records, SearchSettings(), spans, {})
    run = Run(records, journal)
    for number, params in enumerate(drawn):
        run.whole(number, TrialConfig.of(params))
    journal.close()
    for trial, params in zip(read_back(records.folder).trials, drawn, strict=True):
        expected = {name: value for name, value in params.items() if name != "weights"}
        assert {n: str(trial.params[n]) for n in expected} == {
            n: str(v) for n, v in expected.items()
        }
        assert "weights" not in trial.params  # a hyperparameter with a single choice
        assert trial.distributions["lr"] == FloatDistribution(1e-5, 1e-1, log=True)
        assert trial.distributions["epochs"] == IntDistribution(2, 9)
        # The default on the other branch, 0, is not in the range.
        assert ("weight_decay" in trial.params) == (params["optimizer"] == "adamw")


def test_distributions_of_a_list_span_the_values_that_vary() -> None:
    configs = configs_of(
        {"model": "cnn", "lr": 1e-3, "epochs": 10, "optimizer": "sgd"},
        {"model": "cnn", "lr": 1e-2, "epochs": 20, "optimizer": "adam"},
        {"model": "cnn", "lr": 1e-4, "epochs": 60, "optimizer": "adam"},
    )
    spans = listed_distributions(configs)
    assert spans["lr"] == FloatDistribution(1e-4, 1e-2, log=True)
    assert spans["epochs"] == IntDistribution(10, 60)
    assert spans["optimizer"] == CategoricalDistribution(("sgd", "adam"))
    assert "model" not in spans


def test_a_capped_number_of_epochs_is_an_additional_choice() -> None:
    def lengths(trial: Trial) -> None:
        trial.suggest_categorical("model", ["cnn"])
        trial.suggest_categorical("epochs", [10, 60])

    branches = walk_branches(search_space_of(lengths))
    capped = [
        TrialConfig.of({**leaf, "epochs": min(int(leaf["epochs"]), 40)}) for leaf in branches.leaves
    ]
    spans = searched_distributions(branches.distributions, capped)
    assert spans == {"epochs": CategoricalDistribution((10, 60, 40))}


def test_optunas_dashboard_shows_a_running_search(tmp_path: Path) -> None:
    records = empty_records(tmp_path / "shown")
    run = Run(records, journal_of(records, RATES))
    for number, status in enumerate(["completed", "stopped_early", "diverged"]):
        run.whole(number, RATES[number], status)
    run.start("t0003", RATES[3])
    run.report("t0003", 1, 0.6)
    run.journal.flush()
    with dashboard_of(records.folder / OPTUNA_JOURNAL) as ask:
        (study,) = ask("studies")["study_summaries"]
        assert study["study_name"] == "shown"
        detail = ask(f"studies/{study['study_id']}")
        assert detail["directions"] == ["maximize"]
        states = [trial["state"] for trial in detail["trials"]]
        assert states == ["Complete", "Pruned", "Fail", "Running"]
        assert detail["objective_names"] == ["val_auroc"]
        assert detail["has_intermediate_values"]


@contextmanager
def dashboard_of(journal: Path) -> Iterator[Callable[[str], Any]]:
    """Serve the dashboard of a journal, on this machine only; yield a function that queries it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("optuna-dashboard"), journal]
    process = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port), "--quiet"])

    def ask(path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}", timeout=60) as answer:
            return json.load(answer)

    try:
        while True:  # pytest's timeout ends a dashboard that never answers
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
