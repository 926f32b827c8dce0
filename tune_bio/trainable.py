"""The one trainable that Ray Tune runs: a class whose actor is used for one trial after another.

A step trains to the next rung (or for about a second, whichever comes first) and returns rows;
nothing here writes a table.
"""

import faulthandler
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from tune_bio import checkpoints
from tune_bio.cluster import Allotment
from tune_bio.config import METRIC_MODES, TrialConfig
from tune_bio.sharing import Shared
from tune_bio.training import EpochResult, TrainingState, fit, train_accuracy_at_best

STEP_SECONDS = 1.0  # a shorter step would cost Tune more than it tells
CHECKPOINT_SECONDS = 15.0  # between rungs
# What a diverged trial reports in the place of NaN, which neither ASHA nor Optuna can rank.
WORST = {"max": 0.0, "min": 1e6}
STALL_FILE = "stalled.txt"


@dataclass(frozen=True)
class TrialContext:
    """What is the same for all trials of a study.

    `checkpoints` is an absolute folder, since workers run in another directory; `rungs` are the
    epochs at which the scheduler compares; `stall_timeout` is in seconds.
    """

    shared: Shared
    allotment: Allotment
    metric: str
    rungs: frozenset[int]
    checkpoints: Path
    stall_timeout: float


class TrialActor(tune.Trainable):
    """Trains `config["params"]` as trial `config["trial"]`."""

    def setup(self, config: dict[str, Any], context: TrialContext) -> None:  # type: ignore[override]
        self.context = context
        # Ray sets OMP_NUM_THREADS from its own count, which torch may have read too early.
        torch.set_num_threads(max(1, int(context.allotment.cpus)))
        self.gpu = _gpu_name() if context.allotment.gpus else None
        self.device = torch.device("cuda" if self.gpu else "cpu")
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in this process; nothing of the last one is left."""
        self.config = new_config
        config = TrialConfig.of(new_config["params"])
        self.folder = self.context.checkpoints / new_config["trial"]
        self.data = self.context.shared.trial_data(config)
        self.state = TrainingState(
            config,
            self.data,
            metric=self.context.metric,
            backbone=self.context.shared.backbone(config),
            device=self.device,
        )
        self.signs = _SignsOfLife(self.folder / STALL_FILE, self.context.stall_timeout)
        self.epochs: Iterator[EpochResult] = fit(
            config, self.data, self.state, on_batch=self.signs.give
        )
        self.saved_at = time.monotonic()
        self.reported_best = 0
        return True

    def step(self) -> dict[str, Any]:
        """Train until there is something to say, and say it."""
        started = time.monotonic()
        rows = []
        with self.signs:
            for result in self.epochs:
                rows.append(result.row())
                at_rung = result.epoch in self.context.rungs
                if at_rung or time.monotonic() - started >= STEP_SECONDS:
                    break
            decisive = self.state.finished or self.state.epoch in self.context.rungs
            report = self._report(rows, decisive)
        if decisive or time.monotonic() - self.saved_at >= CHECKPOINT_SECONDS:
            checkpoints.save(self.folder, self.state)
            self.saved_at = time.monotonic()
        return report

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        checkpoints.save(Path(checkpoint_dir), self.state)

    def load_checkpoint(self, checkpoint: dict[str, Any] | str | None) -> None:
        checkpoints.load(Path(str(checkpoint)), self.state)

    def cleanup(self) -> None:
        faulthandler.cancel_dump_traceback_later()

    def _report(self, rows: list[dict[str, Any]], decisive: bool) -> dict[str, Any]:
        state, metric = self.state, self.context.metric
        mode = METRIC_MODES[metric]
        value = rows[-1].get(metric) if rows and not state.diverged else None
        report: dict[str, Any] = {
            "epoch": state.epoch,
            # The scheduler compares the value at this epoch; a maximum over epochs would favour
            # noisy trials.
            metric: WORST[mode] if value is None else value,
            "best": WORST[mode] if state.best is None else state.best.value,
            "done": state.finished,
            # Tune sets "done" also where the scheduler stops a trial; this one stays.
            "finished": state.finished,
            "diverged": state.diverged,
            "rows": rows,
            "node": ray.util.get_node_ip_address(),
            "gpu": self.gpu,
            "parameters": sum(p.numel() for p in state.model.parameters()),
            "trainable_parameters": state.trainable_parameters,
        }
        if decisive and state.best is not None and state.best.epoch != self.reported_best:
            # Only where the trial may end: this costs a pass over the training images.
            self.reported_best = state.best.epoch
            report["probabilities"] = state.best.probabilities
            report["train_accuracy_at_best"] = train_accuracy_at_best(
                state, self.data, self.signs.give
            )
        return report


class _SignsOfLife:
    """Ends the process where no batch finishes for `seconds`; tells where it hung in `path`.

    The timer is faulthandler's: it runs outside the interpreter, so a loop in C or a lock that
    is never released cannot stop it. The driver sees a dead actor and reads the file.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._armed_at = 0.0

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._path.open("w")
        self._arm()

    def __exit__(self, *exception: object) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._stream.close()
        self._path.unlink(missing_ok=True)

    def give(self) -> None:
        """A batch is done. Arming starts a thread, so it is done once a second at most."""
        if time.monotonic() - self._armed_at > min(1.0, self._seconds / 4):
            self._arm()

    def _arm(self) -> None:
        self._armed_at = time.monotonic()
        faulthandler.dump_traceback_later(self._seconds, file=self._stream, exit=True)


def _gpu_name() -> str | None:
    """The name of this process's GPU; None where PyTorch sees none (as with simulated ones)."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
