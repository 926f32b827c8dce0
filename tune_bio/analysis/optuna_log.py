"""A search as an Optuna study, made from the records: `optuna-dashboard results/NAME/optuna.log`.

It is written when a search has ended, and not while it runs: a storage that is kept up to date
costs 5 ms (journal) to 100 ms (SQLite) a trial, and would know nothing of a grid or a list.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from tune_bio.analysis.study_records import PARAMS, StudyRecords
from tune_bio.common.files import replacing
from tune_bio.records.tables import read_timeline
from tune_bio.space.trial_config import Value

OPTUNA_LOG = "optuna.log"
LOG_FROM = 100  # ratio of the largest to the smallest number of a list, which states no scale

# What is not listed came to nothing that could be compared: FAIL, with the reason.
_STATES = {
    "completed": TrialState.COMPLETE,
    "stopped_early": TrialState.PRUNED,
    "running": TrialState.RUNNING,
}
_TOLD = (
    "trial_id", "status", "error", "config_id", "seed", "best_epoch", "epochs_run",
    "epochs_trained", "reused_from", "best_val_auroc", "best_val_accuracy", "best_val_loss",
    "generalization_gap", "seconds", "parameters", "trainable_parameters", "multiply_adds",
)  # fmt: skip
Row = Mapping[str, Any]


def write_optuna_study(study: StudyRecords, folder: Path) -> Path:
    """Write the search of a study into its folder as Optuna has it, and return the file's path.

    A journal (`optuna.storages.JournalStorage`) with one study of that name, over what was there.
    Its trials are those of the search, in order; their value is the metric at the best epoch, their
    intermediate values the metric after each epoch, their parameters what the search varied, and
    their user attributes what else `trials.parquet` has. A trial that was stopped early is PRUNED;
    one that failed, diverged or was interrupted is FAIL, with `status` and `error`. A confirmed
    configuration's trial has the scores of its replicates as `replicates` and `replicates_mean`.

    Times are those of a clock that stands still between an interruption and `--resume`.

    Raises:
        ResultsError: the records cannot be read.
    """
    clock = read_timeline(folder)
    journal, path = _Memory(), folder / OPTUNA_LOG
    with _quietly():
        into = optuna.create_study(
            storage=JournalStorage(journal),
            study_name=study.manifest["name"],
            direction="minimize" if study.ascending else "maximize",
        )
        into.set_metric_names([study.metric])  # else plots say "Objective Value"
    _fill(into, study, clock)
    with replacing(path) as temporary:
        # Optuna's other lock is a symbolic link, which not every file system has.
        lock = JournalFileOpenLock(str(temporary))
        JournalFileBackend(str(temporary), lock).append_logs(journal.logs)
    return path


class _Memory(BaseJournalBackend):
    """A journal in memory, to be written to a file at once: with one fsync, not one a trial."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.logs.extend(logs)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without Optuna's line that a study was made, and that names of metrics are experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _fill(into: optuna.Study, study: StudyRecords, clock: Mapping[str, Sequence[float]]) -> None:
    for name, value in _about(study).items():
        into.set_user_attr(name, value)
    rows = [
        {str(name): value for name, value in row.items() if pd.notna(value)}
        for row in study.trials.convert_dtypes().to_dict("records")
    ]
    searched, curves = _searched(study, rows), _curves(study)
    replicates = {one["trial"]: one for one in study.confirmed}
    for row in rows:
        trial = _trial(row, searched, curves.get(row["trial_id"], {}))
        trial.user_attrs |= _confirmation(replicates.get(row["trial_id"]))
        _set_times(trial, study, clock.get(row["trial_id"], (0.0, 0.0)))
        into.add_trial(trial)


def _about(study: StudyRecords) -> dict[str, Any]:
    """What is true of all trials, for the page of the study."""
    settings, data = study.manifest["settings"], study.manifest["data"]
    told = ("searcher", "scheduler", "max_epochs", "seed")
    return {
        "data": data["source"],
        "synthetic data": data["synthetic"],
        **{name: settings[name] for name in told},
        "trial of best/": study.manifest.get("best_trial"),
    }


def _trial(
    row: Row, searched: Mapping[str, BaseDistribution], curve: Mapping[int, float]
) -> FrozenTrial:
    state, score = _STATES.get(row["status"], TrialState.FAIL), row.get("score")
    if state == TrialState.COMPLETE and score is None:
        state = TrialState.FAIL
    drawn = {name: _drawn(found, row.get(PARAMS + name)) for name, found in searched.items()}
    params = {name: value for name, value in drawn.items() if value is not None}
    return optuna.create_trial(
        state=state,
        value=score if state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
        params=params,
        distributions={name: searched[name] for name in params},
        user_attrs={name: row[name] for name in _TOLD if name in row},
        intermediate_values=dict(curve),
    )


def _confirmation(confirmed: Mapping[str, Any] | None) -> dict[str, Any]:
    if confirmed is None:
        return {}
    return {"replicates": confirmed["scores"], "replicates_mean": confirmed["mean"]}


def _set_times(trial: FrozenTrial, study: StudyRecords, seconds: Sequence[float]) -> None:
    # A manifest of another version may not tell: Optuna wants a time all the same.
    began = datetime.fromisoformat(study.manifest.get("started", "1970-01-01"))
    start, end = (began + timedelta(seconds=passed) for passed in seconds)
    trial.datetime_start = start
    trial.datetime_complete = end if trial.state.is_finished() else None


def _curves(study: StudyRecords) -> dict[str, dict[int, float]]:
    """The metric after each epoch of each trial; none where training had diverged."""
    known = study.epochs.dropna(subset=[study.metric])
    return {
        str(trial): dict(zip(rows["epoch"].tolist(), rows[study.metric].tolist(), strict=True))
        for trial, rows in known.groupby("trial_id", sort=False)
    }


def _searched(study: StudyRecords, rows: Sequence[Row]) -> dict[str, BaseDistribution]:
    """What varied, and within what: one distribution each, that spans all branches of the space.

    Choices are extended by what is on record: the default on a branch that leaves it open, a
    number of epochs that was capped. A range is not: one default of 0 would undo its log scale.
    Of a list there is nothing but the records.
    """
    space = study.manifest["space"]
    of_records = space["listed"] is not None or "distributions" not in space
    names = study.searched if of_records else list(space["distributions"])
    found = {}
    for name in names:
        recorded = [row[PARAMS + name] for row in rows if PARAMS + name in row]
        if of_records:
            found[name] = _of_records(recorded)
        else:
            found[name] = _of_space(space["distributions"][name], recorded)
    return {name: distribution for name, distribution in found.items() if not distribution.single()}


def _of_records(recorded: Sequence[Value]) -> BaseDistribution:
    numbers = [value for value in recorded if not isinstance(value, str)]
    if len(numbers) < len(recorded):
        return _choices(recorded)
    low, high = min(numbers), max(numbers)
    integer = all(isinstance(value, int) for value in numbers)
    log = low > 0 and high / low >= LOG_FROM
    branch = {"low": low, "high": high, "log": log, "integer": integer}
    return _of_space([branch], [])


def _of_space(branches: Sequence[Mapping[str, Any]], recorded: Sequence[Value]) -> BaseDistribution:
    choices = [value for branch in branches for value in branch.get("values", ())]
    ranges = [branch for branch in branches if "low" in branch]
    if not ranges or any(isinstance(value, str) for value in choices):
        return _choices([*choices, *recorded])
    low = min([*(branch["low"] for branch in ranges), *choices])
    high = max([*(branch["high"] for branch in ranges), *choices])
    log = low > 0 and all(branch["log"] for branch in ranges)
    if all(branch["integer"] for branch in ranges) and all(isinstance(v, int) for v in choices):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def _choices(values: Iterable[Value]) -> CategoricalDistribution:
    alike: dict[Value, Value] = {}
    for value in values:
        alike.setdefault(_alike(value), value)
    return CategoricalDistribution(tuple(alike.values()))


def _drawn(distribution: BaseDistribution, recorded: Value | None) -> Value | None:
    """What Optuna would have drawn; None where the hyperparameter was not there, or not drawn."""
    if recorded is None:
        return None
    if isinstance(distribution, CategoricalDistribution):
        choices: dict[Value, Any] = {_alike(choice): choice for choice in distribution.choices}
        value: Value = choices[_alike(recorded)]
        return value
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    number = float(recorded)
    if not distribution.low <= number <= distribution.high:
        return None
    return int(number) if isinstance(distribution, IntDistribution) else number


def _alike(value: Any) -> Value:
    """A table has one type a column: 64, 64.0 and "64" are one choice."""
    try:
        return float(value)
    except ValueError:
        return str(value)
