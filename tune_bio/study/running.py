"""A study whose preflight has passed, carried out on a Ray that is connected.

What only this needs (Ray Tune, matplotlib) takes a second to import: `run_study` has it imported
while Ray starts.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tune_bio.analysis.figures import draw_all
from tune_bio.analysis.study_records import read_study
from tune_bio.analysis.tables import write_summary
from tune_bio.jobs import members_of
from tune_bio.progress import View, reading, showing
from tune_bio.records import Records, Row, write_manifest
from tune_bio.reuse.cleaning import sweep
from tune_bio.sharing import Shared
from tune_bio.study.best import Exported, export_best
from tune_bio.study.confirmation import (
    Confirmed,
    choose,
    confirmed,
    replicate_jobs,
    seconds_left,
)
from tune_bio.study.manifest import describe_earlier, describe_plan
from tune_bio.study.opening import evaluate, open_test_set, opened_before, thresholds
from tune_bio.study.preflight import Plan
from tune_bio.study.ready import Ready, share_ready
from tune_bio.study.resume import records_of, restore
from tune_bio.study.telling import conclude, tell_features, tell_finalists
from tune_bio.study.tuning import Interruption, search, train


@dataclass(frozen=True)
class Outcome:
    """What a study came to: its folder, its trials' rows, and the signal that ended it, if any."""

    folder: Path
    trials: list[Row]
    signal: int | None

    @property
    def failed(self) -> int:
        """How many trials failed."""
        return sum(row["status"] == "failed" for row in self.trials)


@dataclass(frozen=True)
class Ran:
    """A search that has ended: its records, and its exported trial, if there is one."""

    records: Records
    best: Exported | None
    confirmed: list[Confirmed]
    interruption: Interruption


def carry_out(plan: Plan, ready: Ready, console: Console) -> Ran:
    """Search, confirm, export, and only then open the test set."""
    folder, records = plan.request.folder, records_of(plan)
    past = restore(plan, records) if plan.request.resume else []
    manifest = {**describe_plan(plan), **describe_earlier(plan)}
    write_manifest(folder, manifest)
    records.write()
    sweep(folder)
    shared, frozen = share_ready(ready, plan, console)
    tell_features(frozen, console)
    left_out = [*plan.left_out, *frozen.notes]
    manifest |= {"features": list(frozen.described), "left_out": left_out}
    write_manifest(folder, manifest)

    ended = sum(trial.ended for trial in past)
    with _watched(plan, records, plan.trials, ended, console) as view:
        interruption = search(plan, shared, records, view, past)
    manifest["search_seconds"] = time.monotonic() - records.began
    whole = not was_interrupted(plan, records)
    found: list[Confirmed] = []
    if whole:
        interruption, found, notes = _confirm(plan, shared, records, console)
        manifest["left_out"] = [*left_out, *notes]
    best = export_best(plan, records, found[0].median if found else None)
    manifest |= {
        "best_trial": best.row["trial_id"] if best else None,
        "confirmed": [_described(one) for one in found],
    }
    if best and found:
        manifest |= _opened(plan, records, found, best, manifest, console)
    records.write()
    manifest |= {
        "seconds": time.monotonic() - records.began,
        "timeline": records.timeline,
        "interrupted": was_interrupted(plan, records),
    }
    write_manifest(folder, manifest)
    return Ran(records, best, found, interruption)


def _confirm(
    plan: Plan, shared: Shared, records: Records, console: Console
) -> tuple[Interruption, list[Confirmed], list[str]]:
    """Train the finalists' replicates; those that ended all of theirs, and what did not."""
    finalists = choose(plan, records)
    jobs, left = replicate_jobs(records, finalists), seconds_left(plan, records)
    interruption = Interruption()
    if jobs and (left is None or left > 0):
        tell_finalists(finalists, plan, console)
        replicates = sum(len(members_of(job)) for job in jobs)
        before = len(records.trials)
        with _watched(plan, records, before + replicates, before, console) as view:
            interruption = train(plan, shared, records, view, jobs, left)
    if replicate_jobs(records, finalists):
        unfinished = (
            "not all replicates of the finalists ended: nothing is confirmed, and the test set "
            "stays sealed; --resume goes on"
        )
        return interruption, [], [unfinished]
    found = confirmed(plan, records, finalists)
    lost = [one.trial for one in finalists if one not in [c.finalist for c in found]]
    notes = [f"{trial} was not confirmed: a replicate failed or diverged" for trial in lost]
    return interruption, found, notes


def _opened(
    plan: Plan,
    records: Records,
    found: list[Confirmed],
    best: Exported,
    manifest: dict[str, Any],
    console: Console,
) -> dict[str, Any]:
    """Fix the thresholds, write them down, and open the test set; the manifest's entries."""
    trials = [trial for one in found for trial in one.finalist.replicates]
    chosen = {**thresholds(plan, records, trials), best.row["trial_id"]: best.threshold}
    entries: dict[str, Any] = {
        "thresholds": chosen,
        "test_set_opened_before": opened_before(plan),
    }
    write_manifest(plan.request.folder, {**manifest, **entries})
    with reading(console, "predicting test images") as tell_progress:
        opening = open_test_set(plan, records, trials, tell_progress)
    if opening is not None:
        entries["test_set_opened"] = [*manifest["test_set_opened"], opening]
        write_manifest(plan.request.folder, {**manifest, **entries})
    entries["left_out"] = [*manifest["left_out"], *evaluate(plan, records, trials, chosen)]
    return entries


def _described(one: Confirmed) -> dict[str, Any]:
    return {
        "trial": one.finalist.trial,
        "config_id": one.finalist.config_id,
        "scores": dict(one.scores),
        "mean": one.mean,
        "median": one.median,
    }


@contextmanager
def _watched(
    plan: Plan, records: Records, total: int, ended: int, console: Console
) -> Iterator[View]:
    quiet = plan.request.quiet
    with showing(
        console, records, plan.settings, plan.searched, total, quiet=quiet, ended=ended
    ) as view:
        yield view


def tell(plan: Plan, ran: Ran, console: Console) -> Outcome:
    """Figures and summary, and the last lines on the console."""
    folder, trials = plan.request.folder, list(ran.records.trials.values())
    study = read_study(folder)
    if not study.ranking.empty:
        draw_all(study, folder / "figures")
    write_summary(study, folder)
    conclude(plan, trials, ran.best, ran.confirmed, console)
    return Outcome(folder, trials, _signal(plan, ran.records, ran.interruption))


def was_interrupted(plan: Plan, records: Records) -> bool:
    """Whether something was begun and not ended, or never begun."""
    unfinished = any(row["status"] == "interrupted" for row in records.trials.values())
    searched = sum(row["replicate"] == 0 for row in records.trials.values())
    return unfinished or searched < plan.trials


def _signal(plan: Plan, records: Records, interruption: Interruption) -> int | None:
    """The signal that ended the search; one that Tune swallowed was Ctrl-C's."""
    if interruption.number is not None:
        return interruption.number
    if plan.settings.time_budget is None and was_interrupted(plan, records):
        return 2
    return None
