"""What the command tells a person before and after a study."""

from collections.abc import Iterator, Sequence

import torch
from rich.console import Console
from rich.markup import escape

from tune_bio.common.labels import format_duration
from tune_bio.datasets.audit.console import print_findings
from tune_bio.datasets.images import Dataset
from tune_bio.ray_tune.environment import token_path
from tune_bio.reuse.prefixes import CHECKPOINTS
from tune_bio.study.cost_estimate import CostEstimate, estimate_cost, feature_seconds
from tune_bio.study.frozen_features import FeaturePlan, StudyFeatures, plan_features
from tune_bio.study.planning.plan import Plan, follow_up_trials, space_summary


def print_plan(plan: Plan, dashboard: str | None, console: Console) -> None:
    """Say what will run, on what, and what was left out."""
    settings, data = plan.settings, plan.dataset
    title = f"[bold]{escape(plan.request.name)}[/]"
    how = "a list of configurations" if plan.listed is not None else f"searcher {settings.searcher}"
    print_line(
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
    print_line(console, f"data: {escape(data.source)}; images: {', '.join(parts)}")
    print_line(console, f"pixels: {_pixels(data)}")
    source = data.train.source
    if source.cached_bytes:
        kept = f"{source.cached_bytes / 2**20:.1f} MiB of decoded images"
        print_line(console, f"cache: {kept} in {escape(str(source.cache_folder))}")
    print_line(console, f"resources: {plan.allotment}")
    limit = f"at most {settings.checkpoint_gib:g} GiB in {plan.request.folder / CHECKPOINTS}"
    print_line(console, f"checkpoints: {escape(limit)}")
    if plan.request.resume:
        print_line(console, "resumed: what is on record is kept, and not trained again")
    print_findings(plan.audit.findings, console)
    for note in data.notes:
        print_line(console, f"[yellow]note:[/] {escape(note)}")
    for entry in plan.left_out:
        print_line(console, f"[yellow]left out:[/] {escape(entry)}")
    if plan.allotment.gpus and not torch.cuda.is_available():
        print_line(
            console,
            "[yellow]note:[/] PyTorch sees no GPU on this machine; a trial that sees none either "
            "trains on the CPU",
        )
    if dashboard is not None:
        print_line(
            console, f"dashboard: {dashboard}, from this machine only (elsewhere: an SSH tunnel)"
        )
        if token_path().is_file():
            print_line(console, f"  its token: {token_path().read_text().strip()}")


def _pixels(data: Dataset) -> str:
    """Size, colour and depth of the images, for people."""
    size = "x".join(map(str, data.shape)) if data.shape is not None else f"mixed, about {data.size}"
    colour = "grey" if data.channels == 1 else "colour"
    return f"{size} px, {colour}, {8 * data.dtype.itemsize} bit"


def print_dry_run(plan: Plan, console: Console) -> None:
    """--dry-run: everything that is known before the first trial, and the cost."""
    print_plan(plan, None, console)
    print_line(console, "search space:")
    for name, text in space_summary(plan).items():
        print_line(console, f"  {name:16} {escape(text)}")
    if plan.listed is not None:
        print_line(console, f"  {len(plan.listed)} configurations, each once")
    frozen = plan_features(plan)
    for entry in _frozen(plan, frozen):
        print_line(console, entry)
    cost = estimate_cost(plan, frozen)
    print_line(console, f"estimated time: {cost.search}, from one batch of each kind of trial")
    for entry in _afterwards(plan, cost):
        print_line(console, entry)
    print_line(console, "dry run: nothing was trained, nothing written")


def _afterwards(plan: Plan, cost: CostEstimate) -> Iterator[str]:
    """What follows the search, and its cost."""
    more = follow_up_trials(plan)
    counts = {
        "under fresh seeds": more.replicates,
        "on re-splits": more.resplits,
        "of the ablation": more.changes,
    }
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    if told:
        seconds = format_duration(cost.afterwards)
        yield f"  then at most {cost.trials} more trials ({told}): about {seconds}"


def _frozen(plan: Plan, frozen: FeaturePlan) -> Iterator[str]:
    """What computing frozen features will take, by set and in all."""
    costs = {wanted: feature_seconds(plan, frozen, wanted) for wanted in frozen.missing}
    for wanted in (*frozen.kept, *frozen.missing):
        seconds = (
            f"about {format_duration(costs[wanted])}" if wanted in costs else "kept from before"
        )
        yield f"frozen features: {escape(str(wanted.part))}, {_mib(wanted.nbytes)}, {seconds}"
    if len(costs) > 1:
        size = sum(wanted.nbytes for wanted in costs)
        yield f"  in all {_mib(size)} to compute, about {format_duration(sum(costs.values()))}"
    for entry in frozen.notes:
        yield f"[yellow]left out:[/] {escape(entry)}"


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def print_features(frozen: StudyFeatures, console: Console) -> None:
    """Say which frozen features there are, and where there are none."""
    for found in frozen.described:
        how = "computed" if found["computed"] else "from before"
        told = f"{found['of']}, {_mib(found['bytes'])}, {how}"
        print_line(console, f"frozen features: {escape(told)}")
    for entry in frozen.notes:
        print_line(console, f"[yellow]left out:[/] {escape(entry)}")


def print_finalists(trials: Sequence[str], plan: Plan, console: Console) -> None:
    """Say which trials' configurations are trained again, and how often."""
    seeds = f"{plan.settings.replicates} seeds"
    if plan.settings.resplit:
        seeds += f" and on {plan.settings.replicates} re-splits"
    print_line(console, f"confirmation: {', '.join(trials)}, each under {seeds}, to the end")


def print_ablation(winner: str, changes: int, trials: int, console: Console) -> None:
    """Say how many changes of the winner are trained."""
    print_line(console, f"ablation: {winner} with one change at a time, {changes}; {trials} trials")


def print_line(console: Console, text: str) -> None:
    """Print a line, however long."""
    console.print(text, soft_wrap=True)
