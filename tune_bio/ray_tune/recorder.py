"""The driver's callback of Ray Tune, which turns the reports of trials into records."""

import functools
import logging
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ParamSpec

import numpy as np
import numpy.typing as npt
from ray import tune

from tune_bio.console.progress import TrialView
from tune_bio.ray_tune.driver_only import DriverOnly
from tune_bio.ray_tune.failures import error_of, explain_failure
from tune_bio.ray_tune.jobs import Member, config_of_job, members_of, name_of_job
from tune_bio.ray_tune.trial_report import TrialReport
from tune_bio.ray_tune.watchdog import stall_file
from tune_bio.records.curve_summary import summarize
from tune_bio.records.optuna_journal import OptunaJournal
from tune_bio.records.predictions import SplitImages
from tune_bio.records.schema import Status
from tune_bio.records.tables import Records
from tune_bio.records.trial_names import TrialName
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import TrialConfig

WRITE_SECONDS = 2.0
# A large study takes longer to write; the driver spends at most a twentieth of its time on it.
WRITE_SHARE = 20
P = ParamSpec("P")
_log = logging.getLogger(__name__)


def _never_raises(method: Callable[P, None]) -> Callable[P, None]:
    """Log exceptions of `method`: raised in a callback, they would abort the whole study."""

    @functools.wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception:
            _log.exception("a record could not be written; the study goes on")

    return guarded


class Recorder(DriverOnly, tune.Callback):
    """Keeps the records, the Optuna journal and the user's view up to date."""

    def __init__(
        self,
        records: Records,
        journal: OptunaJournal,
        view: TrialView,
        settings: SearchSettings,
        rungs: frozenset[int],
        count_operations: Callable[[TrialConfig], int],
        clean: Callable[[], None] = lambda: None,
        splits: Mapping[int, SplitImages] = MappingProxyType({}),
    ) -> None:
        """Record trials.

        Args:
            records, journal, view: the objects to keep up to date.
            settings: the settings of the study, for the metric.
            rungs: the epochs at which the scheduler compares.
            count_operations: returns a configuration's multiply-adds.
            clean: called after a trial has ended: its checkpoints may be too many.
            splits: the validation splits of re-splits, by their number.
        """
        self._records = records
        self._journal = journal
        self._view = view
        self._settings = settings
        self._rungs = rungs
        self._count_operations = count_operations
        self._clean = clean
        self._splits = splits
        self._write_after = 0.0

    @_never_raises
    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        longest = config_of_job(trial.config)
        for member in members_of(trial.config):
            row = self._records.trials.get(member.trial, {})
            if row.get("status", "interrupted") != "interrupted":
                continue  # it ended before the study was resumed
            config = TrialConfig.of({**longest.all_params(), "epochs": member.epochs})
            replicate = TrialName.parse(member.trial).replicate
            self._records.start_trial(member.trial, config.config_id, config, replicate)
            if "split" in trial.config:
                self._records.other_val_splits[member.trial] = self._splits[trial.config["split"]]
            operations = self._count_operations(config)
            self._records.update_trial(member.trial, multiply_adds=operations)
            self._journal.start(member.trial)
            self._view.started(member.trial)

    @_never_raises
    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        report = TrialReport.of(result)
        assert report is not None
        probabilities = report.take_probabilities()
        shorter: Member | None = None
        for member in members_of(trial.config):
            if self._is_open(member):
                self._record(member, shorter, report)
                if probabilities is not None:
                    self._record_best(member, report, probabilities)
                self._journal.report(member.trial)
                self._view.progressed(member.trial)
                if report.epoch == member.epochs and not report.finished:
                    self._end(member.trial, "completed", None)
            shorter = member

    @_never_raises
    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        report = TrialReport.of(trial.last_result)
        status: Status = "interrupted"
        error = None
        if report is not None and report.diverged:
            status = "diverged"
            error = "the loss or an output became NaN or infinite; lower lr"
        elif report is not None and report.finished:
            status = "completed"
        elif report is not None and report.epoch in self._rungs:
            status = "stopped_early" if name_of_job(trial.config).is_searched else "interrupted"
        self._end_all(trial, status, error)

    @_never_raises
    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if not any(map(self._is_open, members_of(trial.config))):  # it failed before it started
            self.on_trial_start(iteration, trials, trial)
        stall_path = stall_file(self._records.folder, trial.config["trial"])
        batch_size = config_of_job(trial.config).batch_size
        self._end_all(trial, "failed", explain_failure(error_of(trial), stall_path, batch_size))

    @_never_raises
    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() >= self._write_after:
            started = time.monotonic()
            self._records.write()
            self._journal.flush()
            took = time.monotonic() - started
            self._write_after = time.monotonic() + max(WRITE_SECONDS, WRITE_SHARE * took)

    def finish(self) -> None:
        """Mark trials that did not end as interrupted, and write everything.

        Raises:
            OSError: the tables cannot be written.
        """
        for trial_id, row in self._records.trials.items():
            if row["status"] == "running":
                self._end(trial_id, "interrupted", "the study was stopped before the trial's end")
        self._records.write()
        self._journal.close()

    def _record(self, member: Member, shorter: Member | None, report: TrialReport) -> None:
        """Add a report's epochs to a member; those of a shorter member count as reused."""
        trial, records = member.trial, self._records
        records.add_epochs(trial, [row for row in report.rows if row["epoch"] <= member.epochs])
        curve = records.curve(trial)
        reused, reused_from = report.reused_epochs, report.reused_from
        if shorter is not None and shorter.epochs > reused:
            reused, reused_from = shorter.epochs, shorter.trial
        records.update_trial(
            trial,
            **summarize(curve, self._settings.metric, self._settings.mode),
            epochs_trained=max(0, len(curve) - reused),
            reused_from=reused_from,
            parameters=report.parameters,
            trainable_parameters=report.trainable_parameters,
            node=report.node,
            gpu=report.gpu,
        )

    def _record_best(
        self, member: Member, report: TrialReport, probabilities: npt.NDArray[np.float32]
    ) -> None:
        """Add the predictions at the best epoch so far, which are known only at stops."""
        records, trial = self._records, member.trial
        records.predictions[trial] = probabilities
        at_best = records.epochs[trial][records.trials[trial]["best_epoch"]]
        assert report.train_accuracy_at_best is not None
        gap = report.train_accuracy_at_best - at_best["val_accuracy"]
        records.update_trial(trial, generalization_gap=gap)

    def _is_open(self, member: Member) -> bool:
        return self._records.trials.get(member.trial, {}).get("status") == "running"

    def _end_all(self, trial: Any, status: Status, error: str | None) -> None:
        for member in members_of(trial.config):
            if self._is_open(member):
                self._end(member.trial, status, error)
        self._clean()

    def _end(self, trial_id: str, status: Status, error: str | None) -> None:
        self._records.update_trial(trial_id, status=status, error=error)
        self._journal.end(trial_id)
        self._view.ended(trial_id)
