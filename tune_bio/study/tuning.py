"""The search itself: Ray Tune over a plan, its outcome in the records."""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from ray import tune
from ray.tune.search import Searcher

from tune_bio.actors import few_processes
from tune_bio.config import Params, TrialConfig
from tune_bio.fingerprints import array_sha256
from tune_bio.jobs import Job, job, trial_name
from tune_bio.models.cost import cost
from tune_bio.past import PastTrial
from tune_bio.predictions import Described
from tune_bio.progress import View
from tune_bio.recorder import Recorder
from tune_bio.records import Records
from tune_bio.reuse.prefixes import PrefixStore, Surroundings, group
from tune_bio.schedulers import build_scheduler
from tune_bio.searchers import ThenSearcher, build_searcher
from tune_bio.settings import rungs
from tune_bio.sharing import Shared
from tune_bio.study.disk import Disk
from tune_bio.study.following import following
from tune_bio.study.plan import Plan
from tune_bio.trainable import TrialActor, TrialContext


@dataclass
class Interruption:
    """The signal that ended the search, where one did."""

    number: int | None = None


def search(
    plan: Plan,
    shared: Shared,
    records: Records,
    view: View,
    past: Sequence[PastTrial],
    then: Callable[[], Sequence[Job]],
    splits: Mapping[int, Described] = MappingProxyType({}),
) -> Interruption:
    """Run every trial of the plan that has not ended; one that fails is recorded.

    When the last one has ended, `then` is asked for what follows, and again when that has ended,
    until nothing does: all of it is run to its end, in the same processes. `splits` describe the
    validation splits of re-splits, by their number.
    """
    settings = plan.settings
    jobs = None if plan.listed is None else listed_jobs(plan, past)
    left = len(jobs) if jobs is not None else plan.trials - sum(trial.ended for trial in past)
    if left <= 0:
        jobs = list(then())
        left = len(jobs)
    context = _context(plan, shared, records.folder)
    disk = Disk(records, settings, all_confirm=plan.selects_nothing)
    recorder = Recorder(
        records,
        view,
        settings,
        context.rungs,
        _operation_counter(plan),
        disk.clean,
        splits,
    )
    first = build_searcher(plan.space, settings, jobs, plan.finish, past)
    searcher = ThenSearcher(first, left, then)
    try:
        with _scratch() as scratch, _signals() as interruption, few_processes():
            if left > 0:
                most = left + following(plan).trials + 1  # one more question brings `then` about
                _tuner(plan, context, searcher, recorder, scratch, most, past).fit()
    finally:
        recorder.finish()
    disk.clean(at_once=True)
    return interruption


def listed_jobs(plan: Plan, past: Sequence[PastTrial] = ()) -> list[Job]:
    """One job for each set of listed configurations that share a prefix and have not all ended."""
    assert plan.listed is not None
    named = [(trial_name(at), plan.finish(params)) for at, params in enumerate(plan.listed)]
    return joined(named, past)


def joined(named: Sequence[tuple[str, Params]], past: Sequence[PastTrial] = ()) -> list[Job]:
    """One job for each set of trials that share a prefix and have not all ended."""
    before = {trial.trial: trial for trial in past}
    jobs = []
    for positions in group([TrialConfig.of(params) for _, params in named]):
        members = [named[at] for at in positions]
        open_ends = [
            int(params["epochs"])
            for trial, params in members
            if trial not in before or not before[trial].ended
        ]
        if open_ends:
            longest = before.get(members[-1][0])
            reached = longest.reached if longest else 0
            jobs.append(job(members, skip_to=min(open_ends[0], reached)))
    return jobs


def _once(past: Sequence[PastTrial]) -> list[PastTrial]:
    """Of trials of a list that were one training, the one that came farthest: Tune saw no other."""
    groups = group([TrialConfig.of(trial.params) for trial in past])
    return [max((past[at] for at in members), key=lambda one: one.reached) for members in groups]


def _context(plan: Plan, shared: Shared, folder: Path) -> TrialContext:
    settings = plan.settings
    return TrialContext(
        shared=shared,
        allotment=plan.allotment,
        metric=settings.metric,
        rungs=frozenset(rungs(settings)),
        store=PrefixStore(folder, _surroundings(plan)),
        stall_timeout=settings.stall_timeout,
        keep_rungs=settings.scheduler != "median",
    )


def _surroundings(plan: Plan) -> Surroundings:
    data = plan.dataset
    seen = [data.train.fingerprint, data.val.fingerprint, *data.classes, str(data.positive)]
    return Surroundings(
        metric=plan.settings.metric,
        data=array_sha256(np.array(seen)),
        weights={pair: file.sha256 for pair, file in plan.weights.found.items()},
        threads=max(1, int(plan.allotment.cpus)),
    )


def _tuner(
    plan: Plan,
    context: TrialContext,
    searcher: Searcher,
    recorder: Recorder,
    scratch: Path,
    trials: int,
    past: Sequence[PastTrial],
) -> tune.Tuner:
    settings, allotment = plan.settings, plan.allotment
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
            scheduler=build_scheduler(settings, past if plan.listed is None else _once(past)),
            num_samples=trials,
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


def _operation_counter(plan: Plan) -> Callable[[TrialConfig], int]:
    """`multiply_adds` for this data; preflight has counted each architecture already."""
    classes, channels = len(plan.dataset.classes), plan.dataset.channels

    def count(config: TrialConfig) -> int:
        free = config.model_copy(update={"freeze": "none"})  # a frozen layer computes as much
        return cost(free, classes, channels).multiply_adds

    return count


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """Where Tune keeps its own state, which nobody reads afterwards."""
    path = Path(tempfile.mkdtemp(prefix="tune_bio_"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _signals() -> Iterator[Interruption]:
    """Let SIGTERM end the search as Ctrl-C does: trials stop, records are written.

    Tune handles SIGINT alone, and Ray's own handler for SIGTERM exits on the spot.
    """
    interruption = Interruption()

    def terminate(number: int, frame: object) -> None:
        interruption.number = number
        os.kill(os.getpid(), signal.SIGINT)

    try:
        before = signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not the main thread: signals are somebody else's
        yield interruption
        return
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGTERM, before)
