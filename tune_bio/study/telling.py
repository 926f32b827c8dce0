"""What the command tells a person before and after a study."""

from collections import Counter

import torch
from rich.console import Console
from rich.markup import escape

from tune_bio.datasets import Dataset
from tune_bio.environment import token_path
from tune_bio.progress import describe
from tune_bio.records import Row
from tune_bio.study.estimate import estimate
from tune_bio.study.preflight import Plan, describe_space


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
    cost = estimate(plan)
    _line(console, f"estimated time: {cost}, from one batch of each kind of trial")
    _line(console, "dry run: nothing was trained, nothing written")


def conclude(
    plan: Plan, trials: list[Row], best: tuple[float, Row] | None, console: Console
) -> None:
    """Say how it ended, what is best, and where everything is."""
    counts = Counter(row["status"] for row in trials)
    told = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in counts.items())
    _line(console, f"{len(trials)} trials: {told or 'none'}")
    for row in trials:
        if row["status"] == "failed":
            _line(console, f"[red]{row['trial_id']} failed:[/] {escape(str(row['error']))}")
    if best is not None:
        value, row = best
        _line(
            console,
            f"best: [bold]{row['trial_id']}[/] {plan.settings.metric} [bold]{value:.4f}[/] at "
            f"epoch {row['best_epoch']}; {escape(describe(row, plan.searched))}",
        )
    _line(console, f"results: {escape(str(plan.request.folder))} (begin with summary.md)")


def _line(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)
