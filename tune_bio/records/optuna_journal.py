"""The search as an Optuna study, written while it runs: `optuna-dashboard results/NAME/optuna.log`.

The format is the same for every searcher: a trial of Bayesian optimisation, of a grid or of a list
is added when it starts, and updated with the records. The searcher's own Optuna study stays
in memory: a storage would cost 5 ms per trial, and a full disk would end the search.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from tune_bio.common.files import replacing
from tune_bio.records.optuna_distributions import drawn_value
from tune_bio.records.ranking import score
from tune_bio.records.tables import Records, config_of_row
from tune_bio.records.trial_names import TrialName
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import TrialConfig

OPTUNA_JOURNAL = "optuna.log"
LOG_FROM = 100  # from this ratio of its largest to its smallest number, a list has a log scale

# Every other status gives nothing to compare: FAIL, with the reason in `status` and `error`.
_STATES = {"completed": TrialState.COMPLETE, "stopped_early": TrialState.PRUNED}
_ATTRIBUTES = (
    "status", "error", "config_id", "seed", "best_epoch", "epochs_run",
    "epochs_trained", "reused_from", "best_val_auroc", "best_val_accuracy", "best_val_loss",
    "generalization_gap", "seconds", "parameters", "trainable_parameters", "multiply_adds",
)  # fmt: skip


class OptunaJournal:
    """An Optuna journal that mirrors a study's records, as one Optuna study of the same name.

    It contains the trials of the search. Their value is the metric at the best epoch, their
    intermediate values are the metric after each epoch, their parameters are the varied
    hyperparameters, and their user attributes the other columns of trials.parquet.
    A trial that was stopped early is PRUNED; one that failed, diverged or was interrupted is FAIL.

    Changes are kept in memory until `flush` writes them. A resumed study writes the file anew.
    """

    def __init__(
        self,
        records: Records,
        settings: SearchSettings,
        distributions: Mapping[str, BaseDistribution],
        attributes: Mapping[str, Any],
    ) -> None:
        """Start the journal with the trials of the records that have ended.

        Args:
            records: the records of the study, whose folder has the study's name.
            settings: the settings of the study, for the metric.
            distributions: one per hyperparameter that the search varies.
            attributes: facts about the study, shown by the dashboard.
        """
        self._records = records
        self._settings = settings
        self._distributions = distributions
        self._journal = _BufferedJournal(records.folder / OPTUNA_JOURNAL)
        self._storage = JournalStorage(self._journal)
        with _without_messages():
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=records.folder.name,
                direction="minimize" if settings.mode == "min" else "maximize",
            )
            self._study.set_metric_names([settings.metric])  # plots say "Objective Value" otherwise
        self.set_attributes(attributes)
        self._storage_ids: dict[str, int] = {}
        self._reported: dict[str, int] = {}  # the last epoch of each trial in the journal
        for trial_id, row in records.trials.items():
            if _is_searched(trial_id) and row["status"] not in ("interrupted", "running"):
                self.start(trial_id)
                self.end(trial_id)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set user attributes of the study; values are JSON."""
        for name, value in attributes.items():
            self._study.set_user_attr(name, value)

    def start(self, trial_id: str) -> None:
        """Add a trial that runs; trials that follow the search are left out."""
        if not _is_searched(trial_id):
            return
        params = self._params(config_of_row(self._records.trials[trial_id]))
        trial = optuna.create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={name: self._distributions[name] for name in params},
            user_attrs={"trial_id": trial_id},
        )
        trial.datetime_start = self._moment(trial_id, 0)
        study_id = self._storage.get_study_id_from_name(self._records.folder.name)
        self._storage_ids[trial_id] = self._storage.create_new_trial(study_id, trial)

    def report(self, trial_id: str) -> None:
        """Add the epochs of a trial that were recorded since the last call."""
        if trial_id not in self._storage_ids:
            return
        for row in self._records.curve(trial_id):
            value = row.get(self._settings.metric)
            if value is not None and row["epoch"] > self._reported.get(trial_id, 0):
                self._reported[trial_id] = row["epoch"]
                storage_id = self._storage_ids[trial_id]
                self._storage.set_trial_intermediate_value(storage_id, row["epoch"], value)

    def end(self, trial_id: str) -> None:
        """Set a trial's final state, its value and its attributes."""
        if trial_id not in self._storage_ids:
            return
        self.report(trial_id)
        row, storage_id = self._records.trials[trial_id], self._storage_ids[trial_id]
        for name in _ATTRIBUTES:
            if row.get(name) is not None:
                self._storage.set_trial_user_attr(storage_id, name, row[name])
        value = score(row, self._records, self._settings)
        state = _STATES.get(row["status"], TrialState.FAIL)
        if state == TrialState.COMPLETE and value is None:
            state = TrialState.FAIL
        values = None if state == TrialState.FAIL or value is None else [value]
        self._storage.set_trial_state_values(storage_id, state, values)

    def close(self) -> None:
        """Add the trials that a resumed study did not take up again, and write everything."""
        for trial_id in self._records.trials:
            if _is_searched(trial_id) and trial_id not in self._storage_ids:
                self.start(trial_id)
                self.end(trial_id)
        self.flush()

    def flush(self) -> None:
        """Write what has changed since the last call; raises OSError."""
        self._journal.flush()

    def _params(self, config: TrialConfig) -> dict[str, Any]:
        """Return the varied hyperparameters as Optuna would have drawn them."""
        active = config.params()
        values = {
            name: drawn_value(distribution, active.get(name))
            for name, distribution in self._distributions.items()
        }
        return {name: value for name, value in values.items() if value is not None}

    def _moment(self, trial_id: str, end: int) -> datetime:
        """Return when a trial started (0) or ended (1).

        The records' clock stands still between an interruption and `--resume`.
        """
        since = self._records.seconds_since_start() - self._records.timeline[trial_id][end]
        return datetime.now(UTC) - timedelta(seconds=since)


class _BufferedJournal(BaseJournalBackend):
    """A journal in memory, written to a file in batches: one fsync per batch, not per change.

    The driver is the only writer: readers such as the dashboard open the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._logs: list[dict[str, Any]] = []
        self._written = 0  # logs in the file; 0 if it must be written whole

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._logs.extend(logs)

    def flush(self) -> None:
        """Append new logs to the file; after a failure, write it whole again."""
        pending, whole = self._logs[self._written :], self._written == 0
        if not pending:
            return
        self._written = 0
        if whole:
            with replacing(self._path) as temporary:
                _append(temporary, pending)
        else:
            _append(self._path, pending)
        self._written = len(self._logs)


def _append(path: Path, logs: list[dict[str, Any]]) -> None:
    # Optuna's other lock is a symbolic link, which not every file system has.
    JournalFileBackend(str(path), JournalFileOpenLock(str(path))).append_logs(logs)


@contextmanager
def _without_messages() -> Iterator[None]:
    """Suppress Optuna's line on a new study, and its warning that metric names are experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _is_searched(trial_id: str) -> bool:
    return TrialName.parse(trial_id).is_searched
