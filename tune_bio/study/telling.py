"""What the command tells a person before and after a study."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.markup import escape

from tune_bio.datasets import Dataset
from tune_bio.datasets.auditing.telling import show_findings
from tune_bio.environment import token_path
from tune_bio.progress import describe, duration
from tune_bio.records import Row
from tune_bio.reuse.cleaning import used
from tune_bio.reuse.prefixes import CHECKPOINTS
from tune_bio.study.disk import GIB
from tune_bio.study.estimate import estimate, feature_seconds
from tune_bio.study.frozen import Frozen, FrozenPlan, plan_frozen
from tune_bio.study.preflight import Plan, describe_space

if TYPE_CHECKING:  # they know Ray Tune, which is imported while Ray starts
    from tune_bio.study.confirmation import Confirmed, Finalist
    from tune_bio.study.judging import Judged


def introduce(plan: Plan, dashboard: str | None, console: Console) -> None:
    """Say what will run, on what, and what was left out."""
    settings, data = plan.settings, plan.dataset
    title = f"[bold]{escape(plan.request.name)}[/]"
    how = "a list of configurations" if plan.listed is not None else f"searcher {settings.searcher}"
    _line(
        console,
        f"{title}: {plan.trials} trials by {how}, scheduler {settings.scheduler}, up to "
        f"{settings.max_epochs} epochs, ranked by {settings.metric}",
    )
    parts = []
    for name, split in data.splits.items():
        patients = len(set(split.patients.tolist()))
        parts.append(
            f"{name} {len(split)}" + (f" ({patients} patients)" if data.patients_known else "")
        )
    _line(console, f"data: {escape(data.source)}; images: {', '.join(parts)}")
    _line(console, f"pixels: {_pixels(data)}")
    source = data.train.source
    if source.cached_bytes:
        kept = f"{source.cached_bytes / 2**20:.1f} MiB of decoded images"
        _line(console, f"cache: {kept} in {escape(str(source.cache_folder))}")
    _line(console, f"resources: {plan.allotment}")
    limit = f"at most {settings.checkpoint_gib:g} GiB in {plan.request.folder / CHECKPOINTS}"
    _line(console, f"checkpoints: {escape(limit)}")
    if plan.request.resume:
        _line(console, "resumed: what is on record is kept, and not trained again")
    show_findings(plan.audit.findings, console)
    for note in data.notes:
        _line(console, f"[yellow]note:[/] {escape(note)}")
    for entry in plan.left_out:
        _line(console, f"[yellow]left out:[/] {escape(entry)}")
    if plan.allotment.gpus and not torch.cuda.is_available():
        _line(
            console,
            "[yellow]note:[/] PyTorch sees no GPU on this machine; a trial that sees none either "
            "trains on the CPU",
        )
    if dashboard is not None:
        _line(console, f"dashboard: {dashboard}, from this machine only (elsewhere: an SSH tunnel)")
        if token_path().is_file():
            _line(console, f"  its token: {token_path().read_text().strip()}")


def _pixels(data: Dataset) -> str:
    """Size, colour and depth of the images, for people."""
    size = "x".join(map(str, data.shape)) if data.shape is not None else f"mixed, about {data.size}"
    colour = "grey" if data.channels == 1 else "colour"
    return f"{size} px, {colour}, {8 * data.dtype.itemsize} bit"


def show(plan: Plan, console: Console) -> None:
    """--dry-run: everything that is known before the first trial, and the cost."""
    introduce(plan, None, console)
    _line(console, "search space:")
    for name, text in describe_space(plan).items():
        _line(console, f"  {name:16} {escape(text)}")
    if plan.listed is not None:
        _line(console, f"  {len(plan.listed)} configurations, each once")
    frozen = plan_frozen(plan)
    for line in _frozen(plan, frozen):
        _line(console, line)
    cost = estimate(plan, frozen)
    _line(console, f"estimated time: {cost}, from one batch of each kind of trial")
    _line(console, "dry run: nothing was trained, nothing written")


def _frozen(plan: Plan, frozen: FrozenPlan) -> Iterator[str]:
    """What computing frozen features will take, by set and in all."""
    costs = {wanted: feature_seconds(plan, frozen, wanted) for wanted in frozen.missing}
    for wanted in (*frozen.kept, *frozen.missing):
        seconds = f"about {duration(costs[wanted])}" if wanted in costs else "kept from before"
        yield f"frozen features: {escape(str(wanted.part))}, {_mib(wanted.nbytes)}, {seconds}"
    if len(costs) > 1:
        size = sum(wanted.nbytes for wanted in costs)
        yield f"  in all {_mib(size)} to compute, about {duration(sum(costs.values()))}"
    for entry in frozen.notes:
        yield f"[yellow]left out:[/] {escape(entry)}"


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def tell_features(frozen: Frozen, console: Console) -> None:
    """Say which frozen features there are, and where there are none."""
    for found in frozen.described:
        how = "computed" if found["computed"] else "from before"
        told = f"{found['of']}, {_mib(found['bytes'])}, {how}"
        _line(console, f"frozen features: {escape(told)}")
    for entry in frozen.notes:
        _line(console, f"[yellow]left out:[/] {escape(entry)}")


def tell_finalists(finalists: Sequence["Finalist"], plan: Plan, console: Console) -> None:
    """Say which configurations are trained again, and how often."""
    trials = ", ".join(finalist.trial for finalist in finalists)
    seeds = f"{plan.settings.replicates} seeds"
    _line(console, f"confirmation: {trials}, each under {seeds}, to the end")


def conclude(
    plan: Plan,
    trials: list[Row],
    judged: "Judged",
    console: Console,
) -> None:
    """Say how it ended, what is best, and where everything is."""
    counts = Counter(row["status"] for row in trials)
    told = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in counts.items())
    _line(console, f"{len(trials)} trials: {told or 'none'}")
    for row in trials:
        if row["status"] == "failed":
            _line(console, f"[red]{row['trial_id']} failed:[/] {escape(str(row['error']))}")
    if judged.best is not None:
        value, row = judged.best.value, judged.best.row
        _line(
            console,
            f"best: [bold]{row['trial_id']}[/] {plan.settings.metric} [bold]{value:.4f}[/] at "
            f"epoch {row['best_epoch']}; {escape(describe(row, plan.searched))}",
        )
    for one in judged.confirmed:
        _line(console, f"confirmed: {one.finalist.trial}, {_confirmed(plan, trials, one)}")
    for flag in judged.flags:
        _line(console, f"[yellow]flag:[/] {escape(flag.message)}")
    reused = sum(row.get("epochs_run", 0) - row.get("epochs_trained", 0) for row in trials)
    if reused:
        trained = sum(row.get("epochs_trained", 0) for row in trials)
        _line(console, f"epochs: {trained} trained, {reused} taken from checkpoints")
    held = used(plan.request.folder) / GIB
    _line(console, f"results: {escape(str(plan.request.folder))} (begin with summary.md)")
    _line(console, f"checkpoints: {held:.2f} GiB; they may be deleted when nothing is to follow")


def _line(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)


def _confirmed(plan: Plan, trials: Sequence[Row], one: "Confirmed") -> str:
    """A finalist's mean on validation, and what its replicate in the middle has on test."""
    row = next(row for row in trials if row["trial_id"] == one.median)
    told = f"{plan.settings.metric} [bold]{one.mean:.4f}[/] over {len(one.scores)} seeds"
    if row.get("test_auroc") is None:
        return told
    low, high = (row.get(f"test_auroc_{end}") for end in ("low", "high"))
    interval = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
    return f"{told}; test AUROC of {one.median} [bold]{row['test_auroc']:.3f}[/]{interval}"
