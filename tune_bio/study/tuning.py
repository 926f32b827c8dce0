"""Tuning: Ray Tune over a plan, from the search's first trial to the last one that follows it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from tune_bio.common.hashing import array_sha256
from tune_bio.console.progress import TrialView, trial_display
from tune_bio.datasets.cache.eviction import keep_fresh
from tune_bio.models.cost import cost
from tune_bio.ray_tune.jobs import Job, jobs_for, longest_of_each_training
from tune_bio.ray_tune.object_store import SharedInputs
from tune_bio.ray_tune.recorder import Recorder
from tune_bio.ray_tune.schedulers import build_scheduler
from tune_bio.ray_tune.searchers import FollowUpSearcher, build_searcher
from tune_bio.ray_tune.trainable import TrialContext
from tune_bio.ray_tune.tuner import Interruption, run_tuner, sigterm_as_sigint
from tune_bio.records.optuna_distributions import listed_distributions, searched_distributions
from tune_bio.records.optuna_journal import OptunaJournal
from tune_bio.records.recorded_trial import RecordedTrial
from tune_bio.records.trial_names import TrialName
from tune_bio.reuse.prefixes import KeyContext, PrefixStore
from tune_bio.space.settings import rungs
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study.checkpoint_budget import CheckpointBudget
from tune_bio.study.follow_up.after_search import FollowUp
from tune_bio.study.follow_up.resplits import make_resplits, shared_splits
from tune_bio.study.planning.plan import Plan, follow_up_trials
from tune_bio.study.running_study import RunningStudy


@dataclass(frozen=True)
class Tuning:
    """A search that has ended: what followed it, the Optuna journal, and how it was interrupted."""

    follow_up: FollowUp
    journal: OptunaJournal
    interruption: Interruption


def tune(study: RunningStudy, shared: SharedInputs, console: Console) -> Tuning:
    """Run every trial that has not ended: first the search, then the trials that follow from it.

    Failed trials are recorded. All trials run in the same worker processes.
    """
    plan, records = study.plan, study.records
    resplits = make_resplits(plan)
    shared = shared.with_splits(shared_splits(resplits))
    follow_up = FollowUp(plan, shared, records, console, resplits)
    journal = _journal(study)
    with keep_fresh(shared.files), _display(study, console) as view:
        interruption = _run_trials(study, shared, follow_up, journal, view)
    study.manifest.add({"search_seconds": follow_up.search_seconds})
    return Tuning(follow_up, journal, interruption)


def _run_trials(
    study: RunningStudy,
    shared: SharedInputs,
    follow_up: FollowUp,
    journal: OptunaJournal,
    view: TrialView,
) -> Interruption:
    plan, records, settings, past = study.plan, study.records, study.plan.settings, study.past
    jobs = None if plan.listed is None else listed_jobs(plan, past)
    left = len(jobs) if jobs is not None else plan.trials - sum(trial.ended for trial in past)
    if left <= 0:
        jobs = list(follow_up.jobs())
        left = len(jobs)
    context = _trial_context(plan, shared)
    budget = CheckpointBudget(records, settings, all_confirm=plan.selects_nothing)
    recorder = Recorder(
        records,
        journal,
        view,
        settings,
        context.rungs,
        _operation_counter(plan),
        budget.clean,
        {number: resplit.val_images for number, resplit in follow_up.resplits.items()},
    )
    first = build_searcher(plan.space, settings, jobs, plan.config, past)
    searcher = FollowUpSearcher(first, left, follow_up.jobs)
    compared = past if plan.listed is None else longest_of_each_training(past)
    scheduler = build_scheduler(settings, compared)
    # One more sample, so that the searcher is called again when the last trial has ended.
    num_samples = left + follow_up_trials(plan).trials + 1
    try:
        with sigterm_as_sigint() as interruption:
            if left > 0:
                run_tuner(context, settings, searcher, scheduler, recorder, num_samples=num_samples)
    finally:
        recorder.finish()
    budget.clean(at_once=True)
    return interruption


def listed_jobs(plan: Plan, past: Sequence[RecordedTrial] = ()) -> list[Job]:
    """Return one job for each set of listed trials that share a prefix and have not all ended."""
    trials = [(str(TrialName(position)), config) for position, config in enumerate(plan.configs)]
    return jobs_for(trials, past)


def _journal(study: RunningStudy) -> OptunaJournal:
    plan, settings = study.plan, study.plan.settings
    if plan.listed is not None:
        distributions = listed_distributions(plan.configs)
    else:
        ends = map(plan.config, plan.branches.highs)  # caps, and defaults of every branch
        configs = [*plan.configs, *ends]
        distributions = searched_distributions(plan.branches.distributions, configs)
    attributes = {
        "data": plan.dataset.source,
        "synthetic data": plan.dataset.synthetic,
        "searcher": settings.searcher if plan.request.configs is None else "list",
        "scheduler": settings.scheduler,
        "max_epochs": settings.max_epochs,
        "seed": settings.seed,
    }
    return OptunaJournal(study.records, settings, distributions, attributes)


def _trial_context(plan: Plan, shared: SharedInputs) -> TrialContext:
    settings = plan.settings
    return TrialContext(
        shared=shared,
        allotment=plan.allotment,
        metric=settings.metric,
        rungs=frozenset(rungs(settings)),
        store=PrefixStore(plan.request.folder, _key_context(plan)),
        stall_timeout=settings.stall_timeout,
        keep_rungs=settings.scheduler != "median",
    )


def _key_context(plan: Plan) -> KeyContext:
    data = plan.dataset
    parts = [data.train.fingerprint, data.val.fingerprint, *data.classes, str(data.positive)]
    return KeyContext(
        metric=plan.settings.metric,
        data=array_sha256(np.array(parts)),
        weights={pair: file.sha256 for pair, file in plan.weights.files.items()},
        threads=max(1, int(plan.allotment.cpus)),
    )


def _operation_counter(plan: Plan) -> Callable[[TrialConfig], int]:
    """Return a function that counts multiply-adds; the counts of all architectures are cached."""
    classes, channels = len(plan.dataset.classes), plan.dataset.channels

    def count(config: TrialConfig) -> int:
        trainable = config.model_copy(update={"freeze": "none"})  # a frozen layer computes as much
        return cost(trainable, classes, channels).multiply_adds

    return count


def _display(study: RunningStudy, console: Console) -> AbstractContextManager[TrialView]:
    plan, records = study.plan, study.records
    return trial_display(
        console,
        records,
        plan.settings,
        plan.searched,
        plan.trials + follow_up_trials(plan).trials,
        quiet=plan.request.quiet,
        ended=sum(row["status"] != "interrupted" for row in records.trials.values()),
    )
