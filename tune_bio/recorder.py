"""The driver's one callback: what trials return becomes records."""

import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

from ray import tune

from tune_bio import checkpoints
from tune_bio.config import TrialConfig
from tune_bio.curves import summarize
from tune_bio.driver_only import DriverOnly
from tune_bio.failures import error_of, explain
from tune_bio.fingerprints import config_id
from tune_bio.progress import View
from tune_bio.records import Records, Status
from tune_bio.settings import SearchSettings

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
        view: View,
        settings: SearchSettings,
        rungs: frozenset[int],
        checkpoint_folder: Path,
        count_operations: Callable[[TrialConfig], int],
    ) -> None:
        self._records = records
        self._view = view
        self._settings = settings
        self._rungs = rungs
        self._checkpoints = checkpoint_folder
        self._count_operations = count_operations
        self._write_after = 0.0

    @_never_raises
    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        config = TrialConfig.of(trial.config["params"])
        trial_id = trial.config["trial"]
        self._records.start_trial(trial_id, config_id(config), config)
        self._view.started(trial_id)
        self._records.update_trial(trial_id, multiply_adds=self._count_operations(config))

    @_never_raises
    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        trial_id = trial.config["trial"]
        records = self._records
        records.add_epochs(trial_id, result["rows"])
        curve = records.curve(trial_id)
        records.update_trial(
            trial_id,
            **summarize(curve, self._settings.metric, self._settings.mode),
            epochs_trained=len(curve),
            **{key: result[key] for key in ("parameters", "trainable_parameters", "node", "gpu")},
        )
        if "probabilities" in result:
            records.predictions[trial_id] = result.pop("probabilities")
            row = records.trials[trial_id]
            at_best = next(e for e in curve if e["epoch"] == row["best_epoch"])
            gap = result["train_accuracy_at_best"] - at_best["val_accuracy"]
            records.update_trial(trial_id, generalization_gap=gap)
        self._view.progressed(trial_id)

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
        elif result.get("epoch") in self._rungs:
            status = "stopped_early"
        self._end(trial.config["trial"], status, error)

    @_never_raises
    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        trial_id = trial.config["trial"]
        if trial_id not in self._records.trials:  # it failed before it started
            self.on_trial_start(iteration, trials, trial)
        error = explain(
            error_of(trial), self._checkpoints / trial_id, trial.config["params"]["batch_size"]
        )
        self._end(trial_id, "failed", error)

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

    def _end(self, trial_id: str, status: Status, error: str | None) -> None:
        self._records.update_trial(trial_id, status=status, error=error)
        self._view.ended(trial_id)
        if status not in ("failed", "interrupted"):
            checkpoints.drop_optimizer(self._checkpoints / trial_id)
