"""The trainable that Ray Tune runs: a class whose actor is used for one trial after another.

A step trains to the next stop, or for about a second if that comes first, and returns rows; it
writes no table. Where a checkpoint of the same training exists on the way to the stop, the step
continues from it instead of training that far.
"""

import faulthandler
import logging
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from tune_bio.errors import ResultsError
from tune_bio.ray_tune.jobs import config_of_job, members_of
from tune_bio.ray_tune.object_store import SharedInputs
from tune_bio.ray_tune.resources import Allotment
from tune_bio.ray_tune.trial_report import TrialReport
from tune_bio.ray_tune.watchdog import Watchdog, stall_file
from tune_bio.records.schema import Row
from tune_bio.reuse import checkpoints
from tune_bio.reuse.checkpoints import History
from tune_bio.reuse.prefixes import CHECKPOINTS, PrefixStore, owners
from tune_bio.space.trial_config import METRIC_MODES, WORST
from tune_bio.training.fit import EpochResult, fit, train_accuracy_at_best
from tune_bio.training.state import TrainingState

STEP_SECONDS = 1.0  # a shorter step would cost Tune more than its result is worth
CHECKPOINT_SECONDS = 15.0  # between rungs
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrialContext:
    """The inputs and settings that all trials of a study share.

    store: the checkpoints, in an absolute folder, since workers run in another directory.
    rungs: the epochs at which the scheduler compares.
    stall_timeout: in seconds.
    keep_rungs: keep checkpoints at rungs. A scheduler that compares at every epoch would fill the
        disk.
    """

    shared: SharedInputs
    allotment: Allotment
    metric: str
    rungs: frozenset[int]
    store: PrefixStore
    stall_timeout: float
    keep_rungs: bool = True


class TrialActor(tune.Trainable):
    """An actor that trains the configurations of jobs (see `jobs.py`), one after another.

    Several trials may share a training: it then stops at the end of each of them.
    """

    def setup(self, config: dict[str, Any], context: TrialContext) -> None:  # type: ignore[override]
        self.context = context
        # Ray sets OMP_NUM_THREADS from its own count, which torch may have read too early.
        torch.set_num_threads(max(1, int(context.allotment.cpus)))
        self.gpu = _gpu_name() if context.allotment.gpus else None
        self.device = torch.device("cuda" if self.gpu else "cpu")
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in this process; nothing of the previous one remains."""
        self.config = new_config
        config = config_of_job(new_config)
        context, members = self.context, members_of(new_config)
        self.data = context.shared.trial_data(config, new_config.get("split", 0))
        self.state = TrainingState(
            config,
            self.data,
            metric=context.metric,
            backbone=context.shared.backbone(config),
            device=self.device,
        )
        self.key = context.store.key(config, self.data.reuse_tag, self.gpu or "cpu")
        self.owners = {member.trial for member in members}
        context.store.claim(self.key, sorted(self.owners))
        self.study = f"{context.store.folder.name}/"
        self.name = self.study + new_config["trial"]
        self.history = History(rows=[], trial=self.name)
        self.ends = {member.epochs for member in members}
        self.stops = sorted({*context.rungs, *self.ends})
        self.watchdog = Watchdog(
            stall_file(context.store.folder, new_config["trial"]), context.stall_timeout
        )
        self.epochs: Iterator[EpochResult] = fit(
            config, self.data, self.state, on_batch=self.watchdog.heartbeat
        )
        self.saved_at = time.monotonic()
        self.saved: Path | None = None
        self.provisional: Path | None = None
        self.reported_best = 0
        self.skip_to: int = new_config.get("skip_to", 0)
        return True

    def step(self) -> dict[str, Any]:
        """Train to the next stop, or for about a second, and report the new epochs."""
        with self.watchdog:
            rows = self._reuse() or self._train()
            decisive = self.state.finished or self.state.epoch in self.stops
            report = self._report(rows, decisive)
        if decisive or time.monotonic() - self.saved_at >= CHECKPOINT_SECONDS:
            self._save()
        return report.to_result(self.context.metric)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        checkpoints.save(Path(checkpoint_dir) / "checkpoint", self.state, self.history)

    def load_checkpoint(self, checkpoint: dict[str, Any] | str | None) -> None:
        self.history = checkpoints.load(Path(str(checkpoint)) / "checkpoint", self.state)

    def cleanup(self) -> None:
        faulthandler.cancel_dump_traceback_later()

    def _reuse(self) -> list[Row]:
        """Continue from the longest checkpoint up to the next stop; return the skipped rows.

        A resumed trial goes on from its last checkpoint, even past the next rung.
        """
        state, before = self.state, self.state.epoch
        if before not in (0, *self.stops):
            return []
        until = max(self._next_stop(), self.skip_to)
        self.skip_to = 0
        for path in self.context.store.find(self.key, before, until):
            try:
                loaded = checkpoints.load(path, state)
            except ResultsError as error:
                _log.warning("%s", error)  # the next longest checkpoint, or training, replaces it
                continue
            self.history, self.saved = self._continued(loaded, before), path
            return list(loaded.rows[before:])
        return []

    def _continued(self, loaded: History, before: int) -> History:
        """Return the history with the epochs after `before` of a checkpoint.

        They count as reused if another trial trained them.
        """
        if loaded.trial == self.name:
            return loaded
        own = self.history
        return History(
            rows=[*own.rows, *loaded.rows[before:]],
            trial=self.name,
            reused_from=loaded.trial.removeprefix(self.study),
            reused_epochs=own.reused_epochs + len(loaded.rows) - before,
            train_accuracy={**loaded.train_accuracy, **own.train_accuracy},
        )

    def _train(self) -> list[Row]:
        started, stop = time.monotonic(), self._next_stop()
        rows = []
        for result in self.epochs:
            rows.append(result.row())
            if result.epoch == stop or time.monotonic() - started >= STEP_SECONDS:
                break
        self.history = replace(self.history, rows=[*self.history.rows, *rows])
        return rows

    def _next_stop(self) -> int:
        return next((stop for stop in self.stops if stop > self.state.epoch), self.state.epoch)

    def _save(self) -> None:
        """Save a checkpoint, and remove the previous one if it was only provisional."""
        epoch, store = self.state.epoch, self.context.store
        path, provisional = store.at(self.key, epoch), self.provisional
        needed = self.state.finished or epoch in self.ends
        try:
            checkpoints.save(path, self.state, self.history, self.saved)
        except OSError as error:
            if needed:
                raise
            # On a full disk, for example: the training itself does not need it.
            _log.warning("no checkpoint of %s after epoch %d: %s", self.name, epoch, error)
            self.saved_at = time.monotonic()
            return
        self.saved_at, self.saved = time.monotonic(), path
        # Another trial of the same training may go on from it, or have its best epoch in it.
        exclusive = owners(store.folder / CHECKPOINTS / self.key) <= self.owners
        if provisional is not None and provisional != path and exclusive:
            shutil.rmtree(provisional, ignore_errors=True)
        lasting = needed or (self.context.keep_rungs and epoch in self.context.rungs)
        self.provisional = None if lasting else path

    def _report(self, rows: list[Row], decisive: bool) -> TrialReport:
        state, metric = self.state, self.context.metric
        worst = WORST[METRIC_MODES[metric]]
        value = rows[-1].get(metric) if rows and not state.diverged else None
        report = TrialReport(
            epoch=state.epoch,
            value=worst if value is None else value,
            best=worst if state.best is None else state.best.value,
            finished=state.finished,
            diverged=state.diverged,
            rows=rows,
            reused_from=self.history.reused_from,
            reused_epochs=self.history.reused_epochs,
            node=ray.util.get_node_ip_address(),
            gpu=self.gpu,
            parameters=sum(p.numel() for p in state.model.parameters()),
            trainable_parameters=state.trainable_parameters,
        )
        if decisive and state.best is not None and state.best.epoch != self.reported_best:
            self.reported_best = state.best.epoch
            report.probabilities = state.best.probabilities
            report.train_accuracy_at_best = self._train_accuracy(state.best.epoch)
        return report

    def _train_accuracy(self, epoch: int) -> float:
        """Return the accuracy of the best epoch's weights on the training images, cached."""
        known = self.history.train_accuracy
        if str(epoch) not in known:
            accuracy = train_accuracy_at_best(self.state, self.data, self.watchdog.heartbeat)
            known = {**known, str(epoch): accuracy}
            self.history = replace(self.history, train_accuracy=known)
        return known[str(epoch)]


def _gpu_name() -> str | None:
    """Return the name of this process's GPU; None if PyTorch sees none, as with simulated ones."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
