"""The last lines on the console: how a study ended, what is best, and where everything is."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from tune_bio.progress import describe
from tune_bio.records import Row
from tune_bio.reuse.cleaning import used
from tune_bio.study.confirmation import Confirmed
from tune_bio.study.disk import GIB
from tune_bio.study.judging import Judged
from tune_bio.study.plan import Plan
from tune_bio.study.telling import line


def conclude(
    plan: Plan,
    trials: list[Row],
    judged: Judged,
    console: Console,
) -> None:
    """Say how it ended, what is best, and where everything is."""
    counts = Counter(row["status"] for row in trials)
    told = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in counts.items())
    line(console, f"{len(trials)} trials: {told or 'none'}")
    for row in trials:
        if row["status"] == "failed":
            line(console, f"[red]{row['trial_id']} failed:[/] {escape(str(row['error']))}")
    if judged.best is not None:
        value, row = judged.best.value, judged.best.row
        line(
            console,
            f"best: [bold]{row['trial_id']}[/] {plan.settings.metric} [bold]{value:.4f}[/] at "
            f"epoch {row['best_epoch']}; {escape(describe(row, plan.searched))}",
        )
    for one in judged.confirmed:
        line(console, f"confirmed: {one.finalist.trial}, {_confirmed(plan, trials, one)}")
    for flag in judged.flags:
        line(console, f"[yellow]flag:[/] {escape(flag.message)}")
    reused = sum(row.get("epochs_run", 0) - row.get("epochs_trained", 0) for row in trials)
    if reused:
        trained = sum(row.get("epochs_trained", 0) for row in trials)
        line(console, f"epochs: {trained} trained, {reused} taken from checkpoints")
    held = used(plan.request.folder) / GIB
    line(console, f"results: {escape(str(plan.request.folder))} (begin with report.html)")
    line(console, f"checkpoints: {held:.2f} GiB; they may be deleted when nothing is to follow")


def _confirmed(plan: Plan, trials: Sequence[Row], one: Confirmed) -> str:
    """A finalist's mean on validation, and what its replicate in the middle has on test."""
    row = next(row for row in trials if row["trial_id"] == one.median)
    told = f"{plan.settings.metric} [bold]{one.mean:.4f}[/] over {len(one.scores)} seeds"
    if row.get("test_auroc") is None:
        return told
    low, high = (row.get(f"test_auroc_{end}") for end in ("low", "high"))
    interval = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
    return f"{told}; test AUROC of {one.median} [bold]{row['test_auroc']:.3f}[/]{interval}"
