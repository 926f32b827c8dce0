"""What is made of a search that has ended: `conclude` reads downward through it.

Controls and confirmation are trained, the winner is exported and its threshold chosen, all of it is
written down; only then is the test set opened.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from tune_bio.console.progress import progress_bar
from tune_bio.controls import Control, Flag
from tune_bio.records.manifest_file import write_manifest
from tune_bio.records.tables import Records, config_of_row
from tune_bio.study.controls import (
    controls_entry,
    fit_simple_predictors,
    raise_flags,
    score_controls_on_test,
)
from tune_bio.study.evaluation import choose_thresholds, evaluate_finalists
from tune_bio.study.export import ExportedTrial, export_best
from tune_bio.study.follow_up.ablation import Ablation, ablation_entry, ablation_jobs
from tune_bio.study.follow_up.after_search import FollowUp, best_searched_trial
from tune_bio.study.follow_up.confirmation import (
    ConfirmedFinalist,
    Finalist,
    confirmed_finalists,
    replicate_jobs,
)
from tune_bio.study.follow_up.resplits import resplit_jobs, resplits_entry
from tune_bio.study.planning.plan import Plan
from tune_bio.study.test_set import earlier_openings, open_test_set, plan_opening


@dataclass
class Verdict:
    """The exported trial, the finalists that were confirmed, flags; and whether it was stopped."""

    best: ExportedTrial | None = None
    confirmed: list[ConfirmedFinalist] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    stopped: bool = False


def conclude(
    plan: Plan, records: Records, after: FollowUp, manifest: dict[str, Any], console: Console
) -> Verdict:
    """Export the winner, and only then open the test set; `manifest` is completed."""
    manifest["confirmed"] = []
    if after.finalists is None:  # the search was interrupted
        return Verdict(export_best(plan, records))
    judged = Verdict()
    try:
        judged.confirmed, notes = _confirmed(plan, records, after.finalists)
        ablation, more = _ablation(plan, records, after.ablation)
        again, lacking = _resplits(plan, records, after)
        manifest |= {"ablation": ablation, "resplits": again}
        manifest["left_out"] = [*manifest["left_out"], *notes, *more, *lacking]
        winner = judged.confirmed[0].median if judged.confirmed else None
        judged.best = export_best(plan, records, winner)
        manifest["confirmed"] = [_described(one) for one in judged.confirmed]
        records.evaluations = []
        if judged.best and judged.confirmed:
            _open(plan, records, judged, manifest, console)
        _control(plan, records, judged, after, manifest)
    except KeyboardInterrupt:
        judged.stopped = True
    return judged


def _confirmed(
    plan: Plan, records: Records, finalists: Sequence[Finalist]
) -> tuple[list[ConfirmedFinalist], list[str]]:
    """The finalists all of whose replicates ended well, if none is left open; and what is not."""
    if replicate_jobs(records, finalists):
        unfinished = (
            "not all replicates of the finalists ended: nothing is confirmed, and the test set "
            "stays sealed; --resume goes on"
        )
        return [], [unfinished]
    found = confirmed_finalists(plan, records, finalists)
    lost = [one.trial for one in finalists if one not in [c.finalist for c in found]]
    return found, [f"{trial} was not confirmed: a replicate failed or diverged" for trial in lost]


def _ablation(
    plan: Plan, records: Records, ablation: Ablation | None
) -> tuple[dict[str, Any] | None, list[str]]:
    """The manifest's entry, None where nothing was changed; and what is not done."""
    if ablation is None:
        wanted = plan.settings.ablate
        return None, ["no winner was confirmed, so none is ablated"] if wanted else []
    notes = list(ablation.notes)
    if ablation_jobs(records, ablation):
        notes.append("not all of the winner's changes were trained; --resume goes on")
    return ablation_entry(plan, records, ablation), notes


def _resplits(
    plan: Plan, records: Records, after: FollowUp
) -> tuple[dict[str, Any] | None, list[str]]:
    """The manifest's entry, None where there are no re-splits; and what is not done."""
    if not after.splits or after.finalists is None:
        return None, []
    open_ones = resplit_jobs(plan, records, after.finalists, list(after.splits))
    notes = ["not all finalists were trained on all re-splits; --resume goes on"]
    described = resplits_entry(plan, records, after.finalists, after.splits)
    return described, notes if open_ones else []


def _open(
    plan: Plan, records: Records, judged: Verdict, manifest: dict[str, Any], console: Console
) -> None:
    """Fix the thresholds, write everything down, open the test set, and evaluate."""
    assert judged.best is not None
    trials = [trial for one in judged.confirmed for trial in one.finalist.replicates]
    chosen = choose_thresholds(plan, records, trials)
    chosen[judged.best.row["trial_id"]] = judged.best.threshold
    manifest |= {"thresholds": chosen, "test_set_opened_before": earlier_openings(plan)}
    write_manifest(plan.request.folder, manifest)
    opening = plan_opening(plan, records, trials)
    if opening is not None:
        # Logged first: whoever interrupts it has had it opened.
        manifest["test_set_opened"] = [*manifest["test_set_opened"], opening]
        write_manifest(plan.request.folder, manifest)
        with progress_bar(console, "predicting test images") as tell:
            open_test_set(plan, records, opening, tell)
    undefined = evaluate_finalists(plan, records, trials, chosen)
    manifest["left_out"] = [*manifest["left_out"], *undefined]


def _control(
    plan: Plan,
    records: Records,
    judged: Verdict,
    after: FollowUp,
    manifest: dict[str, Any],
) -> None:
    """Fit the simple predictors, and raise the flags."""
    top, controls = best_searched_trial(plan, records), list[Control]()
    stopped = is_unfinished(plan, records, after)  # then nothing is trained any more
    shuffled = None if stopped else after.shuffled()
    if plan.settings.controls and top is not None:
        controls = fit_simple_predictors(plan, records, config_of_row(records.trials[top]))
        score_controls_on_test(plan, records, controls)
    best = judged.best.row if judged.best else None
    judged.flags = raise_flags(plan, records, controls, shuffled, best)
    manifest |= {
        "controls": controls_entry(controls, shuffled),
        "flags": [{"kind": flag.kind, "message": flag.message} for flag in judged.flags],
    }


def _described(one: ConfirmedFinalist) -> dict[str, Any]:
    return {
        "trial": one.finalist.trial,
        "config_id": one.finalist.config_id,
        "scores": dict(one.scores),
        "mean": one.mean,
        "median": one.median,
    }


def is_unfinished(plan: Plan, records: Records, after: FollowUp) -> bool:
    """Whether something that is wanted was begun and not ended, or never begun.

    A replicate of what is no finalist any more may stay unfinished for ever.
    """
    searched = [row for row in records.trials.values() if row["replicate"] == 0]
    unfinished = any(row["status"] == "interrupted" for row in searched)
    return unfinished or len(searched) < plan.trials or after.is_open
