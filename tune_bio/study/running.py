"""A study whose preflight has passed, carried out on a Ray that is connected.

What only this needs (Ray Tune, matplotlib) takes a second to import: `run_study` has it imported
while Ray starts.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tune_bio.analysis.figures import draw_all
from tune_bio.analysis.study_records import read_study
from tune_bio.analysis.tables import write_summary
from tune_bio.progress import showing
from tune_bio.records import Records, Row, write_manifest
from tune_bio.reuse.cleaning import sweep
from tune_bio.study.best import export_best
from tune_bio.study.manifest import describe_earlier, describe_plan
from tune_bio.study.preflight import Plan
from tune_bio.study.ready import Ready, share_ready
from tune_bio.study.resume import records_of, restore
from tune_bio.study.telling import conclude, tell_features
from tune_bio.study.tuning import Interruption, search


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
    """A search that has ended: its records, and its best trial's score and row, if it has one."""

    records: Records
    best: tuple[float, Row] | None
    interruption: Interruption


def carry_out(plan: Plan, ready: Ready, console: Console) -> Ran:
    """Search, and export the best trial's model; downward through its parts."""
    folder, records = plan.request.folder, records_of(plan)
    past = restore(plan, records) if plan.request.resume else []
    manifest = {**describe_plan(plan), **describe_earlier(plan)}
    write_manifest(folder, manifest)
    records.write()
    sweep(folder)
    shared, frozen = share_ready(ready, plan, console)
    tell_features(frozen, console)
    manifest |= {
        "features": list(frozen.described),
        "left_out": [*plan.left_out, *frozen.notes],
    }
    write_manifest(folder, manifest)
    with showing(
        console,
        records,
        plan.settings,
        plan.searched,
        plan.trials,
        quiet=plan.request.quiet,
        ended=sum(trial.ended for trial in past),
    ) as view:
        interruption = search(plan, shared, records, view, past)
    best = export_best(plan, records)
    manifest |= {
        "seconds": time.monotonic() - records.began,
        "timeline": records.timeline,
        "interrupted": _was_interrupted(plan, records),
        "best_trial": best[1]["trial_id"] if best else None,
    }
    write_manifest(folder, manifest)
    return Ran(records, best, interruption)


def tell(plan: Plan, ran: Ran, console: Console) -> Outcome:
    """Figures and summary, and the last lines on the console."""
    folder, trials = plan.request.folder, list(ran.records.trials.values())
    study = read_study(folder)
    if not study.ranking.empty:
        draw_all(study, folder / "figures")
    write_summary(study, folder)
    conclude(plan, trials, ran.best, console)
    return Outcome(folder, trials, _signal(plan, ran.records, ran.interruption))


def _was_interrupted(plan: Plan, records: Records) -> bool:
    unfinished = any(row["status"] == "interrupted" for row in records.trials.values())
    return unfinished or len(records.trials) < plan.trials


def _signal(plan: Plan, records: Records, interruption: Interruption) -> int | None:
    """The signal that ended the search; one that Tune swallowed was Ctrl-C's."""
    if interruption.number is not None:
        return interruption.number
    if plan.settings.time_budget is None and _was_interrupted(plan, records):
        return 2
    return None
