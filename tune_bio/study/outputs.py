"""Outputs of a study that has ended: figures, tables, summary, page and the last lines printed."""

import signal
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console

from tune_bio.analysis.conclusions import Conclusions, derive_conclusions
from tune_bio.analysis.figures.draw_all import figure_data_of, save_figures
from tune_bio.analysis.study_records import StudyRecords, read_study
from tune_bio.analysis.write_all import write_all
from tune_bio.errors import DataError
from tune_bio.records.schema import Row
from tune_bio.records.tables import read_predictions
from tune_bio.reuse.checkpoint_cleanup import used_bytes
from tune_bio.study.conclude import Verdict
from tune_bio.study.console import print_note, print_outcome
from tune_bio.study.image_figures import save_image_figures
from tune_bio.study.planning.plan import Plan
from tune_bio.study.running_study import RunningStudy
from tune_bio.study.tuning import Tuning


@dataclass(frozen=True)
class Outcome:
    """The result of a study: its folder, its trials' rows, and the signal that ended it, if any."""

    folder: Path
    trials: list[Row]
    signal: int | None

    @property
    def failed(self) -> int:
        """The number of failed trials."""
        return sum(row["status"] == "failed" for row in self.trials)


def write_outputs(
    study: RunningStudy, tuning: Tuning, verdict: Verdict, console: Console
) -> Outcome:
    """Write figures, tables, summary and page, finish the Optuna journal, and print the outcome."""
    plan, folder = study.plan, study.plan.request.folder
    trials = list(study.records.trials.values())
    _finish_journal(tuning, verdict)
    records, predictions = read_study(folder), read_predictions(folder)
    conclusions = derive_conclusions(records, predictions)
    if not records.ranking.empty:
        _save_figures(plan, verdict, records, predictions, conclusions, console)
    study.manifest.add({"conclusions": conclusions.to_json()})
    write_all(records, conclusions, folder)
    checkpoint_bytes = used_bytes(folder)
    print_outcome(
        plan, trials, verdict.best, verdict.confirmed, verdict.flags, checkpoint_bytes, console
    )
    return Outcome(folder, trials, _signal(plan, tuning, verdict))


def _finish_journal(tuning: Tuning, verdict: Verdict) -> None:
    """Add the winner and the scores of replicates to the journal."""
    best = verdict.best.row["trial_id"] if verdict.best else None
    confirmed = {
        candidate.finalist.trial: {"mean": candidate.mean, "replicates": dict(candidate.scores)}
        for candidate in verdict.confirmed
    }
    tuning.journal.set_attributes({"trial of best/": best, "confirmed": confirmed})
    tuning.journal.flush()


def _save_figures(
    plan: Plan,
    verdict: Verdict,
    records: StudyRecords,
    predictions: pd.DataFrame,
    conclusions: Conclusions,
    console: Console,
) -> None:
    """Save the figures that apply: only quick ones without finalists or after an interruption."""
    folder = plan.request.folder / "figures"
    quick = plan.settings.finalists == 0 or bool(records.manifest["interrupted"])
    save_figures(records, folder, predictions, conclusions, quick=quick)
    if verdict.best is None or quick:
        return
    data = figure_data_of(records, predictions, conclusions)
    try:
        save_image_figures(plan.dataset, data, verdict.best.row, folder)
    except DataError as error:  # image files were moved meanwhile; the study has ended well
        print_note(f"no sheets of images: {error}", console)


def _signal(plan: Plan, tuning: Tuning, verdict: Verdict) -> int | None:
    """Return the signal that ended the study; a signal that Tune caught was Ctrl-C's."""
    if verdict.stopped:
        return signal.SIGINT
    if tuning.interruption.number is not None:
        return tuning.interruption.number
    if plan.settings.time_budget is None and verdict.unfinished:
        return signal.SIGINT
    return None
