"""Outputs of a study that has ended: figures, tables, summary and page."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape

from tune_bio.analysis.conclusions import Conclusions, derive_conclusions
from tune_bio.analysis.figures.draw_all import figure_data_of, save_figures
from tune_bio.analysis.study_records import StudyRecords, read_study
from tune_bio.analysis.write_all import write_all
from tune_bio.console.progress import hyperparameters_text
from tune_bio.errors import DataError
from tune_bio.ray_tune.tuner import Interruption
from tune_bio.records.manifest_file import write_manifest
from tune_bio.records.schema import Row
from tune_bio.records.tables import Records, read_predictions
from tune_bio.reuse.checkpoint_cleanup import used_bytes
from tune_bio.study.checkpoint_budget import GIB
from tune_bio.study.conclude import Verdict
from tune_bio.study.console import print_line
from tune_bio.study.follow_up.confirmation import ConfirmedFinalist
from tune_bio.study.planning.plan import Plan


def print_outcome(
    plan: Plan,
    trials: list[Row],
    judged: Verdict,
    console: Console,
) -> None:
    """Say how it ended, what is best, and where everything is."""
    counts = Counter(row["status"] for row in trials)
    told = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in counts.items())
    print_line(console, f"{len(trials)} trials: {told or 'none'}")
    for row in trials:
        if row["status"] == "failed":
            print_line(console, f"[red]{row['trial_id']} failed:[/] {escape(str(row['error']))}")
    if judged.best is not None:
        value, row = judged.best.value, judged.best.row
        print_line(
            console,
            f"best: [bold]{row['trial_id']}[/] {plan.settings.metric} [bold]{value:.4f}[/] at "
            f"epoch {row['best_epoch']}; {escape(hyperparameters_text(row, plan.searched))}",
        )
    for one in judged.confirmed:
        print_line(console, f"confirmed: {one.finalist.trial}, {_confirmed(plan, trials, one)}")
    for flag in judged.flags:
        print_line(console, f"[yellow]flag:[/] {escape(flag.message)}")
    reused = sum(row.get("epochs_run", 0) - row.get("epochs_trained", 0) for row in trials)
    if reused:
        trained = sum(row.get("epochs_trained", 0) for row in trials)
        print_line(console, f"epochs: {trained} trained, {reused} taken from checkpoints")
    held = used_bytes(plan.request.folder) / GIB
    print_line(console, f"results: {escape(str(plan.request.folder))} (begin with report.html)")
    print_line(
        console, f"checkpoints: {held:.2f} GiB; they may be deleted when nothing is to follow"
    )


def _confirmed(plan: Plan, trials: Sequence[Row], one: ConfirmedFinalist) -> str:
    """A finalist's mean on validation, and what its replicate in the middle has on test."""
    row = next(row for row in trials if row["trial_id"] == one.median)
    told = f"{plan.settings.metric} [bold]{one.mean:.4f}[/] over {len(one.scores)} seeds"
    if row.get("test_auroc") is None:
        return told
    low, high = (row.get(f"test_auroc_{end}") for end in ("low", "high"))
    interval = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
    return f"{told}; test AUROC of {one.median} [bold]{row['test_auroc']:.3f}[/]{interval}"


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
class EndedStudy:
    """A study that has ended: its records, and what was made of them."""

    records: Records
    judged: Verdict
    interruption: Interruption
    unfinished: bool


def write_study_outputs(plan: Plan, ran: EndedStudy, console: Console) -> Outcome:
    """Figures, tables, summary, page and Optuna's study, and the last lines on the console."""
    folder, trials = plan.request.folder, list(ran.records.trials.values())
    study, predictions = read_study(folder), read_predictions(folder)
    conclusions = derive_conclusions(study, predictions)
    if not study.ranking.empty:
        _draw(plan, ran, study, predictions, conclusions, console)
    write_manifest(folder, {**study.manifest, "conclusions": conclusions.to_json()})
    write_all(study, conclusions, folder)
    print_outcome(plan, trials, ran.judged, console)
    return Outcome(folder, trials, _signal(plan, ran))


def _draw(
    plan: Plan,
    ran: EndedStudy,
    study: StudyRecords,
    predictions: pd.DataFrame,
    conclusions: Conclusions,
    console: Console,
) -> None:
    """Every figure that is worth it; of a bare or an interrupted search, what is quickly drawn."""
    folder, best = plan.request.folder / "figures", ran.judged.best
    quick = plan.settings.finalists == 0 or bool(study.manifest["interrupted"])
    save_figures(study, folder, predictions, conclusions, quick=quick)
    if best is not None and not quick:
        from tune_bio.study.image_figures import save_image_figures

        material = figure_data_of(study, predictions, conclusions)
        try:
            save_image_figures(plan.dataset, material, best.row, folder)
        except DataError as error:  # image files that were moved since; the study has ended well
            print_line(console, f"[yellow]note:[/] no sheets of images: {escape(str(error))}")


def _signal(plan: Plan, ran: EndedStudy) -> int | None:
    """The signal that ended the search; one that Tune swallowed was Ctrl-C's."""
    if ran.interruption.number is not None:
        return ran.interruption.number
    if plan.settings.time_budget is None and ran.unfinished:
        return 2
    return None
