"""What is made of a search that has ended: `judge` reads downward through it.

Controls and confirmation are trained, the winner is exported and its threshold chosen, all of it is
written down; only then is the test set opened.
"""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from tune_bio.controls import Control, Flag
from tune_bio.jobs import members_of
from tune_bio.progress import View, ranked, reading, showing
from tune_bio.records import Records, config_of, write_manifest
from tune_bio.sharing import Shared
from tune_bio.study.best import Exported, export_best
from tune_bio.study.confirmation import (
    Confirmed,
    Finalist,
    choose,
    confirmed,
    replicate_jobs,
    seconds_left,
)
from tune_bio.study.controls import (
    Shuffled,
    begin_shuffled,
    describe,
    end_shuffled,
    flags,
    on_test,
    simple_predictors,
)
from tune_bio.study.opening import evaluate, open_test_set, opened_before, thresholds
from tune_bio.study.preflight import Plan
from tune_bio.study.telling import tell_finalists
from tune_bio.study.tuning import Interruption, train


@dataclass
class Judged:
    """The exported trial, the finalists that were confirmed, flags; and what interrupted it."""

    best: Exported | None = None
    confirmed: list[Confirmed] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    interruption: Interruption = field(default_factory=Interruption)


def judge(
    plan: Plan, shared: Shared, records: Records, manifest: dict[str, Any], console: Console
) -> Judged:
    """Confirm, export, and only then open the test set; `manifest` is completed."""
    judged = Judged()
    try:
        shuffled = _trained(plan, shared, records, judged, manifest, console)
        winner = judged.confirmed[0].median if judged.confirmed else None
        judged.best = export_best(plan, records, winner)
        manifest["confirmed"] = [_described(one) for one in judged.confirmed]
        records.evaluations = []
        if judged.best and judged.confirmed:
            _open(plan, records, judged, manifest, console)
        _control(plan, records, judged, shuffled, manifest)
    except KeyboardInterrupt:
        judged.interruption.number = signal.SIGINT
    return judged


def _trained(
    plan: Plan,
    shared: Shared,
    records: Records,
    judged: Judged,
    manifest: dict[str, Any],
    console: Console,
) -> Shuffled | None:
    """Train the finalists' replicates, and beside them the shuffled control."""
    finalists, left = choose(plan, records), seconds_left(plan, records)
    budget_is_used_up = left is not None and left <= 0
    top = _top(plan, records)
    run = None
    if plan.settings.controls and top is not None and not budget_is_used_up:
        config = config_of(records.trials[top])
        run = begin_shuffled(plan, shared, config, plan.settings.seed)
    jobs = replicate_jobs(records, finalists)
    if jobs and not budget_is_used_up:
        tell_finalists([one.trial for one in finalists], plan, console)
        replicates, before = sum(len(members_of(job)) for job in jobs), len(records.trials)
        with watched(plan, records, before + replicates, before, console) as view:
            judged.interruption = train(plan, shared, records, view, jobs, left)
    judged.confirmed, notes = _confirmed(plan, records, finalists)
    manifest["left_out"] = [*manifest["left_out"], *notes]
    if run is None or judged.interruption.number is not None:
        return None
    return end_shuffled(plan, shared, run)


def _confirmed(
    plan: Plan, records: Records, finalists: Sequence[Finalist]
) -> tuple[list[Confirmed], list[str]]:
    """The finalists all of whose replicates ended well, if none is left open; and what is not."""
    if replicate_jobs(records, finalists):
        unfinished = (
            "not all replicates of the finalists ended: nothing is confirmed, and the test set "
            "stays sealed; --resume goes on"
        )
        return [], [unfinished]
    found = confirmed(plan, records, finalists)
    lost = [one.trial for one in finalists if one not in [c.finalist for c in found]]
    return found, [f"{trial} was not confirmed: a replicate failed or diverged" for trial in lost]


def _open(
    plan: Plan, records: Records, judged: Judged, manifest: dict[str, Any], console: Console
) -> None:
    """Fix the thresholds, write everything down, open the test set, and evaluate."""
    assert judged.best is not None
    trials = [trial for one in judged.confirmed for trial in one.finalist.replicates]
    chosen = thresholds(plan, records, trials)
    chosen[judged.best.row["trial_id"]] = judged.best.threshold
    manifest |= {"thresholds": chosen, "test_set_opened_before": opened_before(plan)}
    write_manifest(plan.request.folder, manifest)
    with reading(console, "predicting test images") as tell:
        opening = open_test_set(plan, records, trials, tell)
    if opening is not None:
        manifest["test_set_opened"] = [*manifest["test_set_opened"], opening]
        write_manifest(plan.request.folder, manifest)
    undefined = evaluate(plan, records, trials, chosen)
    manifest["left_out"] = [*manifest["left_out"], *undefined]


def _control(
    plan: Plan,
    records: Records,
    judged: Judged,
    shuffled: Shuffled | None,
    manifest: dict[str, Any],
) -> None:
    """Fit the simple predictors, and raise the flags."""
    top, controls = _top(plan, records), list[Control]()
    if plan.settings.controls and top is not None:
        controls = simple_predictors(plan, records, config_of(records.trials[top]))
        on_test(plan, records, controls)
    best = judged.best.row if judged.best else None
    judged.flags = flags(plan, records, controls, shuffled, best)
    manifest |= {
        "controls": describe(controls, shuffled),
        "flags": [{"kind": flag.kind, "message": flag.message} for flag in judged.flags],
    }


def _top(plan: Plan, records: Records) -> str | None:
    """The search's best trial."""
    rows = [row for row in records.trials.values() if row["replicate"] == 0]
    return next((row["trial_id"] for _, row in ranked(rows, records, plan.settings)), None)


def _described(one: Confirmed) -> dict[str, Any]:
    return {
        "trial": one.finalist.trial,
        "config_id": one.finalist.config_id,
        "scores": dict(one.scores),
        "mean": one.mean,
        "median": one.median,
    }


@contextmanager
def watched(
    plan: Plan, records: Records, total: int, ended: int, console: Console
) -> Iterator[View]:
    """The view of `total` trials, of which `ended` have ended before."""
    quiet = plan.request.quiet
    with showing(
        console, records, plan.settings, plan.searched, total, quiet=quiet, ended=ended
    ) as view:
        yield view
