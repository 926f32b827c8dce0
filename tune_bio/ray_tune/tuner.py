"""Ray Tune's Tuner for a study, and the signals that end it."""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ray import tune
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from tune_bio.ray_tune.ray_internals import reuse_worker_processes
from tune_bio.ray_tune.recorder import Recorder
from tune_bio.ray_tune.trainable import TrialActor, TrialContext
from tune_bio.space.settings import SearchSettings


@dataclass
class Interruption:
    """The signal that ended the search, if any."""

    number: int | None = None


def run_tuner(
    context: TrialContext,
    settings: SearchSettings,
    searcher: Searcher,
    scheduler: TrialScheduler,
    recorder: Recorder,
    *,
    num_samples: int,
) -> None:
    """Run Ray Tune until the searcher has finished, or `num_samples` trials have been run."""
    with _scratch_folder() as scratch, reuse_worker_processes():
        _tuner(context, settings, searcher, scheduler, recorder, scratch, num_samples).fit()


def _tuner(
    context: TrialContext,
    settings: SearchSettings,
    searcher: Searcher,
    scheduler: TrialScheduler,
    recorder: Recorder,
    scratch: Path,
    num_samples: int,
) -> tune.Tuner:
    allotment = context.allotment
    trainable = tune.with_resources(
        tune.with_parameters(TrialActor, context=context),
        {"cpu": allotment.cpus, "gpu": allotment.gpus},
    )
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            metric=settings.metric,
            mode=settings.mode,
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=num_samples,
            max_concurrent_trials=allotment.concurrent,
            time_budget_s=settings.time_budget,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.config["trial"]),
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch),
            verbose=0,
            callbacks=[recorder],
            # Checkpoints are our own: small, readable by anybody, and never unpickled.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=0, fail_fast=False),
        ),
    )


@contextlib.contextmanager
def _scratch_folder() -> Iterator[Path]:
    """Create a temporary folder for Tune's own state, which nobody reads afterwards."""
    path = Path(tempfile.mkdtemp(prefix="tune_bio_"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def sigterm_as_sigint() -> Iterator[Interruption]:
    """Let SIGTERM end the search as Ctrl-C does: trials stop, records are written.

    Tune handles only SIGINT, and Ray's own handler for SIGTERM exits at once.
    """
    interruption = Interruption()

    def terminate(number: int, frame: object) -> None:
        interruption.number = number
        os.kill(os.getpid(), signal.SIGINT)

    try:
        previous = signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # outside the main thread, which handles the signals
        yield interruption
        return
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGTERM, previous)
