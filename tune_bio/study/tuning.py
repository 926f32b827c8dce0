"""The search itself: Ray Tune over a plan, its outcome in the records."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from tune_bio.common.hashing import array_sha256
from tune_bio.console.progress import TrialView
from tune_bio.models.cost import cost
from tune_bio.ray_tune.jobs import Job, jobs_for, longest_of_each_training
from tune_bio.ray_tune.object_store import SharedInputs
from tune_bio.ray_tune.recorder import Recorder
from tune_bio.ray_tune.schedulers import build_scheduler
from tune_bio.ray_tune.searchers import FollowUpSearcher, build_searcher
from tune_bio.ray_tune.trainable import TrialContext
from tune_bio.ray_tune.tuner import Interruption, run_tuner, sigterm_as_sigint
from tune_bio.records.predictions import SplitImages
from tune_bio.records.recorded_trial import RecordedTrial
from tune_bio.records.tables import Records
from tune_bio.records.trial_names import trial_name
from tune_bio.reuse.prefixes import KeyContext, PrefixStore
from tune_bio.space.settings import rungs
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study.checkpoint_budget import CheckpointBudget
from tune_bio.study.planning.plan import Plan, follow_up_trials


def search(
    plan: Plan,
    shared: SharedInputs,
    records: Records,
    view: TrialView,
    past: Sequence[RecordedTrial],
    then: Callable[[], Sequence[Job]],
    splits: Mapping[int, SplitImages] = MappingProxyType({}),
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
    disk = CheckpointBudget(records, settings, all_confirm=plan.selects_nothing)
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
    searcher = FollowUpSearcher(first, left, then)
    scheduler = build_scheduler(
        settings, past if plan.listed is None else longest_of_each_training(past)
    )
    most = left + follow_up_trials(plan).trials + 1  # one more question brings `then` about
    try:
        with sigterm_as_sigint() as interruption:
            if left > 0:
                run_tuner(context, settings, searcher, scheduler, recorder, num_samples=most)
    finally:
        recorder.finish()
    disk.clean(at_once=True)
    return interruption


def listed_jobs(plan: Plan, past: Sequence[RecordedTrial] = ()) -> list[Job]:
    """One job for each set of listed configurations that share a prefix and have not all ended."""
    assert plan.listed is not None
    named = [(trial_name(at), plan.finish(params)) for at, params in enumerate(plan.listed)]
    return jobs_for(named, past)


def _context(plan: Plan, shared: SharedInputs, folder: Path) -> TrialContext:
    settings = plan.settings
    return TrialContext(
        shared=shared,
        allotment=plan.allotment,
        metric=settings.metric,
        rungs=frozenset(rungs(settings)),
        store=PrefixStore(folder, _key_context(plan)),
        stall_timeout=settings.stall_timeout,
        keep_rungs=settings.scheduler != "median",
    )


def _key_context(plan: Plan) -> KeyContext:
    data = plan.dataset
    seen = [data.train.fingerprint, data.val.fingerprint, *data.classes, str(data.positive)]
    return KeyContext(
        metric=plan.settings.metric,
        data=array_sha256(np.array(seen)),
        weights={pair: file.sha256 for pair, file in plan.weights.found.items()},
        threads=max(1, int(plan.allotment.cpus)),
    )


def _operation_counter(plan: Plan) -> Callable[[TrialConfig], int]:
    """`multiply_adds` for this data; preflight has counted each architecture already."""
    classes, channels = len(plan.dataset.classes), plan.dataset.channels

    def count(config: TrialConfig) -> int:
        free = config.model_copy(update={"freeze": "none"})  # a frozen layer computes as much
        return cost(free, classes, channels).multiply_adds

    return count
