"""A study whose preflight has passed, carried out on a Ray that is connected.

What only this needs (Ray Tune, matplotlib) takes a second to import: `run_study` has it imported
while Ray starts.
"""

import signal
import time
from contextlib import AbstractContextManager

from rich.console import Console

from tune_bio.console.progress import View, showing
from tune_bio.datasets.cache.eviction import in_use
from tune_bio.records.manifest_file import write_manifest
from tune_bio.records.tables import Records
from tune_bio.reuse.checkpoint_cleanup import sweep
from tune_bio.study.conclude import judge, was_interrupted
from tune_bio.study.console import tell_features
from tune_bio.study.follow_up.after_search import AfterSearch
from tune_bio.study.follow_up.resplits import resplits, shared_splits
from tune_bio.study.manifest import describe_earlier, describe_plan
from tune_bio.study.outputs import Ran
from tune_bio.study.planning.plan import Plan, following
from tune_bio.study.prepare import Ready, share_ready
from tune_bio.study.resume import records_of, restore
from tune_bio.study.tuning import search


def carry_out(plan: Plan, ready: Ready, console: Console) -> Ran:
    """Search, and judge what was found; what is known is written down at each step."""
    folder, records = plan.request.folder, records_of(plan)
    past = restore(plan, records) if plan.request.resume else []
    manifest = {**describe_plan(plan), **describe_earlier(plan)}
    records.write()  # first: where a manifest is, there are tables
    write_manifest(folder, manifest)
    sweep(folder)
    shared, frozen = share_ready(ready, plan, console)
    tell_features(frozen, console)
    left_out = [*plan.left_out, *frozen.notes]
    manifest |= {"features": list(frozen.described), "left_out": left_out}
    write_manifest(folder, manifest)

    again = resplits(plan)
    shared = shared.with_splits(shared_splits(again))
    after = AfterSearch(plan, shared, records, console, again)
    with in_use(shared.files), _view(plan, records, console) as view:
        described = {number: one.described for number, one in again.items()}
        interruption = search(plan, shared, records, view, past, after.jobs, described)
    manifest["search_seconds"] = after.search_seconds
    judged = judge(plan, records, after, manifest, console)
    if judged.stopped:
        interruption.number = signal.SIGINT
    records.write()
    unfinished = was_interrupted(plan, records, after)
    manifest |= {
        "best_trial": judged.best.row["trial_id"] if judged.best else None,
        "seconds": time.monotonic() - records.began,
        "timeline": records.timeline,
        "interrupted": judged.stopped or unfinished,
    }
    write_manifest(folder, manifest)
    return Ran(records, judged, interruption, unfinished)


def _view(plan: Plan, records: Records, console: Console) -> AbstractContextManager[View]:
    return showing(
        console,
        records,
        plan.settings,
        plan.searched,
        plan.trials + following(plan).trials,
        quiet=plan.request.quiet,
        ended=sum(row["status"] != "interrupted" for row in records.trials.values()),
    )
