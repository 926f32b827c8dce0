"""The driver's one callback: what trials return becomes records."""

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
from tune_bio.ray_tune.jobs import Member, members_of
from tune_bio.ray_tune.watchdog import stall_file
from tune_bio.records.curve_summary import summarize
from tune_bio.records.predictions import SplitImages
from tune_bio.records.schema import Status
from tune_bio.records.tables import Records
from tune_bio.records.trial_names import replicate_of
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import TrialConfig, config_id

WRITE_SECONDS = 2.0
# A large study takes longer to write; the driver spends at most a twentieth of its time on it.
WRITE_SHARE = 20
P = ParamSpec("P")
_log = logging.getLogger(__name__)


def _never_raises(method: Callable[P, None]) -> Callable[P, None]:
    """An exception in a callback aborts the whole study; here it is logged instead."""

    @functools.wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception:
            _log.exception("a record could not be kept; the study goes on")

    return guarded


class Recorder(DriverOnly, tune.Callback):
    """Keeps `records` and the person's `view` up to date."""

    def __init__(
        self,
        records: Records,
        view: TrialView,
        settings: SearchSettings,
        rungs: frozenset[int],
        count_operations: Callable[[TrialConfig], int],
        clean: Callable[[], None] = lambda: None,
        splits: Mapping[int, SplitImages] = MappingProxyType({}),
    ) -> None:
        """`clean` is called when a trial has ended: its checkpoints may be too many.

        `splits` describe the validation splits of re-splits, by their number.
        """
        self._splits = splits
        self._records = records
        self._view = view
        self._settings = settings
        self._rungs = rungs
        self._count_operations = count_operations
        self._clean = clean
        self._write_after = 0.0

    @_never_raises
    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        params = trial.config["params"]
        for member in members_of(trial.config):
            row = self._records.trials.get(member.trial, {})
            if row.get("status", "interrupted") != "interrupted":
                continue  # it ended before the study was resumed
            config = TrialConfig.of({**params, "epochs": member.epochs})
            replicate = replicate_of(member.trial)
            self._records.start_trial(member.trial, config_id(config), config, replicate)
            if "split" in trial.config:
                self._records.others[member.trial] = self._splits[trial.config["split"]]
            self._view.started(member.trial)
            operations = self._count_operations(config)
            self._records.update_trial(member.trial, multiply_adds=operations)

    @_never_raises
    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        probabilities = result.pop("probabilities", None)
        shorter: Member | None = None
        for member in members_of(trial.config):
            if self._is_open(member):
                self._record(member, shorter, result)
                if probabilities is not None:
                    self._record_best(member, result, probabilities)
                self._view.progressed(member.trial)
                if result["epoch"] == member.epochs and not result["finished"]:
                    self._end(member.trial, "completed", None)
            shorter = member

    @_never_raises
    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        result = trial.last_result or {}
        status: Status = "interrupted"
        error = None
        if result.get("diverged"):
            status = "diverged"
            error = "the loss or an output became NaN or infinite; lower lr"
        elif result.get("finished"):
            status = "completed"
        elif result.get("epoch") in self._rungs and not replicate_of(trial.config["trial"]):
            status = "stopped_early"
        self._end_all(trial, status, error)

    @_never_raises
    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if not any(map(self._is_open, members_of(trial.config))):  # it failed before it started
            self.on_trial_start(iteration, trials, trial)
        last_words = stall_file(self._records.folder, trial.config["trial"])
        error = explain_failure(error_of(trial), last_words, trial.config["params"]["batch_size"])
        self._end_all(trial, "failed", error)

    @_never_raises
    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() >= self._write_after:
            started = time.monotonic()
            self._records.write()
            took = time.monotonic() - started
            self._write_after = time.monotonic() + max(WRITE_SECONDS, WRITE_SHARE * took)

    def finish(self) -> None:
        """Mark what did not end as interrupted, and write everything; this may raise."""
        for trial_id, row in self._records.trials.items():
            if row["status"] == "running":
                self._end(trial_id, "interrupted", "the study was stopped before the trial's end")
        self._records.write()

    def _record(self, member: Member, shorter: Member | None, result: dict[str, Any]) -> None:
        """Add the epochs of a result to a member; those of a shorter one are that one's."""
        trial, records = member.trial, self._records
        records.add_epochs(trial, [r for r in result["rows"] if r["epoch"] <= member.epochs])
        curve = records.curve(trial)
        reused, reused_from = result["reused_epochs"], result["reused_from"]
        if shorter is not None and shorter.epochs > reused:
            reused, reused_from = shorter.epochs, shorter.trial
        records.update_trial(
            trial,
            **summarize(curve, self._settings.metric, self._settings.mode),
            epochs_trained=max(0, len(curve) - reused),
            reused_from=reused_from,
            **{key: result[key] for key in ("parameters", "trainable_parameters", "node", "gpu")},
        )

    def _record_best(
        self, member: Member, result: dict[str, Any], probabilities: npt.NDArray[np.float32]
    ) -> None:
        """What is known at a stop alone: the predictions at the best epoch so far."""
        records, trial = self._records, member.trial
        records.predictions[trial] = probabilities
        at_best = records.epochs[trial][records.trials[trial]["best_epoch"]]
        gap = result["train_accuracy_at_best"] - at_best["val_accuracy"]
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
        self._view.ended(trial_id)
