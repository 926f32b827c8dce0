"""A study whose preflight has passed, carried out on a Ray that is connected.

What only this needs (Ray Tune, matplotlib) takes a second to import: `run_study` has it imported
while Ray starts.
"""

import signal
import time
from contextlib import AbstractContextManager

from rich.console import Console

from tune_bio.console.progress import TrialView, trial_display
from tune_bio.datasets.cache.eviction import keep_fresh
from tune_bio.records.manifest_file import write_manifest
from tune_bio.records.tables import Records
from tune_bio.reuse.checkpoint_cleanup import remove_provisional
from tune_bio.study.conclude import conclude, is_unfinished
from tune_bio.study.console import print_features
from tune_bio.study.follow_up.after_search import FollowUp
from tune_bio.study.follow_up.resplits import make_resplits, shared_splits
from tune_bio.study.manifest import earlier_entry, plan_entry
from tune_bio.study.outputs import EndedStudy
from tune_bio.study.planning.plan import Plan, follow_up_trials
from tune_bio.study.prepare import PreparedInputs, share_prepared
from tune_bio.study.resume import empty_records, restore_records
from tune_bio.study.tuning import search


def carry_out(plan: Plan, ready: PreparedInputs, console: Console) -> EndedStudy:
    """Search, and judge what was found; what is known is written down at each step."""
    folder, records = plan.request.folder, empty_records(plan)
    past = restore_records(plan, records) if plan.request.resume else []
    manifest = {**plan_entry(plan), **earlier_entry(plan)}
    records.write()  # first: where a manifest is, there are tables
    write_manifest(folder, manifest)
    remove_provisional(folder)
    shared, frozen = share_prepared(ready, plan, console)
    print_features(frozen, console)
    left_out = [*plan.left_out, *frozen.notes]
    manifest |= {"features": list(frozen.described), "left_out": left_out}
    write_manifest(folder, manifest)

    again = make_resplits(plan)
    shared = shared.with_splits(shared_splits(again))
    after = FollowUp(plan, shared, records, console, again)
    with keep_fresh(shared.files), _view(plan, records, console) as view:
        described = {number: one.described for number, one in again.items()}
        interruption = search(plan, shared, records, view, past, after.jobs, described)
    manifest["search_seconds"] = after.search_seconds
    judged = conclude(plan, records, after, manifest, console)
    if judged.stopped:
        interruption.number = signal.SIGINT
    records.write()
    unfinished = is_unfinished(plan, records, after)
    manifest |= {
        "best_trial": judged.best.row["trial_id"] if judged.best else None,
        "seconds": time.monotonic() - records.began,
        "timeline": records.timeline,
        "interrupted": judged.stopped or unfinished,
    }
    write_manifest(folder, manifest)
    return EndedStudy(records, judged, interruption, unfinished)


def _view(plan: Plan, records: Records, console: Console) -> AbstractContextManager[TrialView]:
    return trial_display(
        console,
        records,
        plan.settings,
        plan.searched,
        plan.trials + follow_up_trials(plan).trials,
        quiet=plan.request.quiet,
        ended=sum(row["status"] != "interrupted" for row in records.trials.values()),
    )
