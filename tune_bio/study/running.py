"""A study whose preflight has passed, carried out on a Ray that is connected.

What only this needs (Ray Tune, matplotlib) takes a second to import: `run_study` has it imported
while Ray starts.
"""

import signal
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape

from tune_bio.analysis.conclusions import Conclusions, draw_conclusions
from tune_bio.analysis.figures import draw_all, material_of
from tune_bio.analysis.outputs import write_outputs
from tune_bio.analysis.study_records import StudyRecords, read_study
from tune_bio.datasets.room import in_use
from tune_bio.errors import DataError
from tune_bio.progress import View, showing
from tune_bio.records import Records, Row, read_predictions, write_manifest
from tune_bio.reuse.cleaning import sweep
from tune_bio.study.concluding import conclude
from tune_bio.study.following import following
from tune_bio.study.judging import AfterSearch, Judged, judge, was_interrupted
from tune_bio.study.manifest import describe_earlier, describe_plan
from tune_bio.study.plan import Plan
from tune_bio.study.ready import Ready, share_ready
from tune_bio.study.resplits import resplits, shared_splits
from tune_bio.study.resume import records_of, restore
from tune_bio.study.telling import line, tell_features
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
    """A study that has ended: its records, and what was made of them."""

    records: Records
    judged: Judged
    interruption: Interruption
    unfinished: bool


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


def tell(plan: Plan, ran: Ran, console: Console) -> Outcome:
    """Figures, tables, summary, page and Optuna's study, and the last lines on the console."""
    folder, trials = plan.request.folder, list(ran.records.trials.values())
    study, predictions = read_study(folder), read_predictions(folder)
    conclusions = draw_conclusions(study, predictions)
    if not study.ranking.empty:
        _draw(plan, ran, study, predictions, conclusions, console)
    write_manifest(folder, {**study.manifest, "conclusions": conclusions.to_json()})
    write_outputs(study, conclusions, folder)
    conclude(plan, trials, ran.judged, console)
    return Outcome(folder, trials, _signal(plan, ran))


def _draw(
    plan: Plan,
    ran: Ran,
    study: StudyRecords,
    predictions: pd.DataFrame,
    conclusions: Conclusions,
    console: Console,
) -> None:
    """Every figure that is worth it; of a bare or an interrupted search, what is quickly drawn."""
    folder, best = plan.request.folder / "figures", ran.judged.best
    quick = plan.settings.finalists == 0 or bool(study.manifest["interrupted"])
    draw_all(study, folder, predictions, conclusions, quick=quick)
    if best is not None and not quick:
        from tune_bio.study.sheets import draw_sheets

        material = material_of(study, predictions, conclusions)
        try:
            draw_sheets(plan.dataset, material, best.row, folder)
        except DataError as error:  # image files that were moved since; the study has ended well
            line(console, f"[yellow]note:[/] no sheets of images: {escape(str(error))}")


def _signal(plan: Plan, ran: Ran) -> int | None:
    """The signal that ended the search; one that Tune swallowed was Ctrl-C's."""
    if ran.interruption.number is not None:
        return ran.interruption.number
    if plan.settings.time_budget is None and ran.unfinished:
        return 2
    return None
