"""The conclusion of a search that has ended: `conclude` reads downward through it.

The winner is confirmed and exported, its threshold is chosen, and all of this is recorded; only
then is the test set opened.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from tune_bio.console.progress import progress_bar
from tune_bio.controls import Control, Flag
from tune_bio.records.tables import Records, config_of_row
from tune_bio.study.controls import (
    controls_entry,
    fit_simple_predictors,
    raise_flags,
    score_controls_on_test,
)
from tune_bio.study.evaluation import choose_thresholds, evaluate_finalists
from tune_bio.study.export import ExportedTrial, export_best
from tune_bio.study.follow_up.ablation import ablation_entry, ablation_jobs
from tune_bio.study.follow_up.after_search import FollowUp, best_searched_trial
from tune_bio.study.follow_up.confirmation import (
    ConfirmedFinalist,
    confirmed_finalists,
    replicate_jobs,
)
from tune_bio.study.follow_up.resplits import resplit_jobs, resplits_entry
from tune_bio.study.planning.plan import Plan
from tune_bio.study.running_study import RunningStudy
from tune_bio.study.test_set import earlier_openings, open_test_set, plan_opening

Entry = dict[str, Any]


@dataclass
class Verdict:
    """The exported trial, the confirmed finalists and the flags.

    stopped: Ctrl-C was pressed meanwhile; the conclusions before that are complete.
    unfinished: a requested trial has not been trained to its end.
    """

    best: ExportedTrial | None = None
    confirmed: list[ConfirmedFinalist] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    stopped: bool = False
    unfinished: bool = False


def conclude(study: RunningStudy, follow_up: FollowUp, console: Console) -> Verdict:
    """Choose and export the winner, open the test set, and check everything for flags."""
    plan, records, manifest = study.plan, study.records, study.manifest
    verdict = Verdict()
    try:
        _choose_winner(study, follow_up, verdict)
        if verdict.best and verdict.confirmed:
            _evaluate_on_test(study, verdict, console)
        if follow_up.finalists is not None:  # else the search was interrupted
            _check_with_controls(study, follow_up, verdict)
    except KeyboardInterrupt:
        verdict.stopped = True
    verdict.unfinished = is_unfinished(plan, records, follow_up)
    records.write()
    manifest.add(_final_entry(records, verdict))
    return verdict


def _choose_winner(study: RunningStudy, follow_up: FollowUp, verdict: Verdict) -> None:
    """Confirm the finalists, export the winner, and record both in the manifest."""
    plan, records, manifest = study.plan, study.records, study.manifest
    records.evaluations = []
    verdict.confirmed, unconfirmed = _confirm(plan, records, follow_up)
    ablation, not_ablated = _ablation(plan, records, follow_up)
    resplits, not_resplit = _resplits(plan, records, follow_up)
    winner = verdict.confirmed[0].median if verdict.confirmed else None
    verdict.best = export_best(plan, records, winner)
    confirmed = [_confirmed_entry(finalist) for finalist in verdict.confirmed]
    manifest.add(
        {"confirmed": confirmed, "ablation": ablation, "resplits": resplits},
        left_out=[*unconfirmed, *not_ablated, *not_resplit],
    )


def _confirm(
    plan: Plan, records: Records, follow_up: FollowUp
) -> tuple[list[ConfirmedFinalist], list[str]]:
    """Return the confirmed finalists, and notes on the others.

    No finalist is confirmed while any replicate remains to be trained.
    """
    finalists = follow_up.finalists
    if finalists is None:
        return [], []
    if replicate_jobs(records, finalists):
        unfinished = (
            "not all replicates of the finalists ended: nothing is confirmed, and the test set "
            "stays sealed; --resume goes on"
        )
        return [], [unfinished]
    confirmed = confirmed_finalists(plan, records, finalists)
    known = [candidate.finalist for candidate in confirmed]
    lost = [finalist.trial for finalist in finalists if finalist not in known]
    notes = [f"{trial} was not confirmed: a replicate failed or diverged" for trial in lost]
    return confirmed, notes


def _ablation(
    plan: Plan, records: Records, follow_up: FollowUp
) -> tuple[Entry | None, Sequence[str]]:
    """Return the manifest's entry, None without an ablation, and notes on what is missing."""
    ablation = follow_up.ablation
    if ablation is None:
        missed = plan.settings.ablate and follow_up.finalists is not None
        return None, ["no winner was confirmed, so none is ablated"] if missed else []
    notes = list(ablation.notes)
    if ablation_jobs(records, ablation):
        notes.append("not all of the winner's changes were trained; --resume goes on")
    return ablation_entry(plan, records, ablation), notes


def _resplits(
    plan: Plan, records: Records, follow_up: FollowUp
) -> tuple[Entry | None, Sequence[str]]:
    """Return the manifest's entry, None without re-splits, and notes on what is missing."""
    resplits, finalists = follow_up.resplits, follow_up.finalists
    if not resplits or finalists is None:
        return None, []
    open_jobs = resplit_jobs(records, finalists, list(resplits))
    notes = ["not all finalists were trained on all re-splits; --resume goes on"]
    return resplits_entry(plan, records, finalists, resplits), notes if open_jobs else []


def _evaluate_on_test(study: RunningStudy, verdict: Verdict, console: Console) -> None:
    """Fix and record the thresholds, open the test set, and evaluate the finalists."""
    plan, records, manifest = study.plan, study.records, study.manifest
    assert verdict.best is not None
    trials = [trial for candidate in verdict.confirmed for trial in candidate.finalist.replicates]
    thresholds = choose_thresholds(plan, records, trials)
    thresholds[verdict.best.row["trial_id"]] = verdict.best.threshold
    earlier = earlier_openings(plan)
    manifest.add({"thresholds": thresholds, "test_set_opened_before": earlier})
    opening = plan_opening(plan, records, trials)
    if opening is not None:
        # Logged first: if this is interrupted, the test set has been opened all the same.
        manifest.add({"test_set_opened": [*manifest["test_set_opened"], opening]})
        with progress_bar(console, "predicting test images") as report:
            open_test_set(plan, records, opening, report)
    undefined = evaluate_finalists(plan, records, trials, thresholds)
    manifest.add({}, left_out=undefined)


def _check_with_controls(study: RunningStudy, follow_up: FollowUp, verdict: Verdict) -> None:
    """Fit the simple predictors, and record the controls and the flags."""
    plan, records = study.plan, study.records
    best, controls = best_searched_trial(plan, records), list[Control]()
    # After an interruption nothing more is trained.
    interrupted = is_unfinished(plan, records, follow_up)
    shuffled = None if interrupted else follow_up.shuffled_control()
    if plan.settings.controls and best is not None:
        controls = fit_simple_predictors(plan, records, config_of_row(records.trials[best]))
        score_controls_on_test(plan, records, controls)
    exported = verdict.best.row if verdict.best else None
    verdict.flags = raise_flags(plan, records, controls, shuffled, exported)
    study.manifest.add(
        {
            "controls": controls_entry(controls, shuffled),
            "flags": [{"kind": flag.kind, "message": flag.message} for flag in verdict.flags],
        }
    )


def _final_entry(records: Records, verdict: Verdict) -> Entry:
    return {
        "best_trial": verdict.best.row["trial_id"] if verdict.best else None,
        "seconds": records.seconds_since_start(),
        "timeline": records.timeline,
        "interrupted": verdict.stopped or verdict.unfinished,
    }


def _confirmed_entry(confirmed: ConfirmedFinalist) -> Entry:
    return {
        "trial": confirmed.finalist.trial,
        "config_id": confirmed.finalist.config_id,
        "scores": dict(confirmed.scores),
        "mean": confirmed.mean,
        "median": confirmed.median,
    }


def is_unfinished(plan: Plan, records: Records, follow_up: FollowUp) -> bool:
    """Return True if a requested trial has not been trained to its end.

    A replicate of a configuration that is no longer a finalist may stay unfinished.
    """
    searched = [row for row in records.trials.values() if row["replicate"] == 0]
    interrupted = any(row["status"] == "interrupted" for row in searched)
    return interrupted or len(searched) < plan.trials or follow_up.is_open
