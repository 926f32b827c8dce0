"""Lines that the command prints before, during and after a study."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape

from tune_bio.common.labels import format_duration
from tune_bio.console.progress import hyperparameters_text
from tune_bio.controls import Flag
from tune_bio.datasets.audit.console import print_findings
from tune_bio.datasets.images import Dataset
from tune_bio.ray_tune.connection import Dashboard
from tune_bio.records.schema import Row
from tune_bio.reuse.prefixes import CHECKPOINTS
from tune_bio.space.settings import SearchSettings
from tune_bio.study.cost_estimate import CostEstimate
from tune_bio.study.export import ExportedTrial
from tune_bio.study.follow_up.confirmation import ConfirmedFinalist
from tune_bio.study.frozen_features import FeaturePlan, StudyFeatures
from tune_bio.study.planning.plan import Plan, follow_up_trials, space_summary

MIB, GIB = 2**20, 2**30


def print_plan(plan: Plan, dashboard: Dashboard | None, console: Console) -> None:
    """Print the trials, data and resources of a study, and what was left out."""
    settings, data = plan.settings, plan.dataset
    method = (
        "a list of configurations" if plan.listed is not None else f"searcher {settings.searcher}"
    )
    print_line(
        console,
        f"[bold]{escape(plan.request.name)}[/]: {plan.trials} trials by {method}, scheduler "
        f"{settings.scheduler}, up to {settings.max_epochs} epochs, ranked by {settings.metric}",
    )
    print_line(console, f"data: {escape(data.source)}; images: {_split_counts(data)}")
    print_line(console, f"pixels: {_pixels(data)}")
    source = data.train.source
    if source.cached_bytes:
        folder = escape(str(source.cache_folder))
        print_line(console, f"cache: {_mib(source.cached_bytes)} of decoded images in {folder}")
    print_line(console, f"resources: {plan.allotment}")
    limit = f"at most {settings.checkpoint_gib:g} GiB in {plan.request.folder / CHECKPOINTS}"
    print_line(console, f"checkpoints: {escape(limit)}")
    if plan.request.resume:
        print_line(console, "resumed: recorded trials are kept, and not trained again")
    print_findings(plan.audit.findings, console)
    for note in (*data.notes, *plan.notes):
        print_note(note, console)
    _print_left_out(plan.left_out, console)
    if dashboard is not None:
        print_line(
            console,
            f"dashboard: {dashboard.url}, from this machine only (elsewhere: an SSH tunnel)",
        )
        if dashboard.token:
            print_line(console, f"  its token: {dashboard.token}")


def print_dry_run(plan: Plan, features: FeaturePlan, cost: CostEstimate, console: Console) -> None:
    """Print everything that is known before the first trial, and the cost."""
    print_plan(plan, None, console)
    print_line(console, "search space:")
    for name, text in space_summary(plan).items():
        print_line(console, f"  {name:16} {escape(text)}")
    if plan.listed is not None:
        print_line(console, f"  {len(plan.listed)} configurations, each once")
    for line in _planned_features(features, cost):
        print_line(console, line)
    print_line(console, f"estimated time: {cost.search}, from one batch of each kind of trial")
    for line in _follow_up_cost(plan, cost):
        print_line(console, line)
    print_line(console, "dry run: nothing was trained, nothing written")


def print_features(features: StudyFeatures, console: Console) -> None:
    """Print the frozen features, and notes on those that are unavailable."""
    for entry in features.entries:
        origin = "computed" if entry["computed"] else "from before"
        text = f"{entry['of']}, {_mib(entry['bytes'])}, {origin}"
        print_line(console, f"frozen features: {escape(text)}")
    _print_left_out(features.notes, console)


def print_finalists(trials: Sequence[str], settings: SearchSettings, console: Console) -> None:
    """Print the trials whose configurations are trained again, and the number of seeds."""
    seeds = f"{settings.replicates} seeds"
    if settings.resplit:
        seeds += f" and on {settings.replicates} re-splits"
    print_line(console, f"confirmation: {', '.join(trials)}, each under {seeds}, to the end")


def print_ablation(winner: str, changes: int, trials: int, console: Console) -> None:
    """Print the number of changes of the winner that are trained."""
    print_line(console, f"ablation: {winner} with one change at a time, {changes}; {trials} trials")


def print_outcome(
    plan: Plan,
    trials: Sequence[Row],
    best: ExportedTrial | None,
    confirmed: Sequence[ConfirmedFinalist],
    flags: Sequence[Flag],
    checkpoint_bytes: int,
    console: Console,
) -> None:
    """Print the trials' status, the best trial, the flags, and the folder of the results."""
    counts = Counter(row["status"] for row in trials)
    summary = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in counts.items())
    print_line(console, f"{len(trials)} trials: {summary or 'none'}")
    for row in trials:
        if row["status"] == "failed":
            print_line(console, f"[red]{row['trial_id']} failed:[/] {escape(str(row['error']))}")
    if best is not None:
        row = best.row
        print_line(
            console,
            f"best: [bold]{row['trial_id']}[/] {plan.settings.metric} [bold]{best.value:.4f}[/] "
            f"at epoch {row['best_epoch']}; {escape(hyperparameters_text(row, plan.searched))}",
        )
    for finalist in confirmed:
        scores = _confirmed_scores(plan.settings, trials, finalist)
        print_line(console, f"confirmed: {finalist.finalist.trial}, {scores}")
    for flag in flags:
        print_line(console, f"[yellow]flag:[/] {escape(flag.message)}")
    reused = sum(row.get("epochs_run", 0) - row.get("epochs_trained", 0) for row in trials)
    if reused:
        trained = sum(row.get("epochs_trained", 0) for row in trials)
        print_line(console, f"epochs: {trained} trained, {reused} taken from checkpoints")
    print_line(console, f"results: {escape(str(plan.request.folder))} (begin with report.html)")
    size = f"{checkpoint_bytes / GIB:.2f} GiB"
    print_line(console, f"checkpoints: {size}; delete them if the study will not be continued")


def print_note(note: str, console: Console) -> None:
    """Print a note."""
    print_line(console, f"[yellow]note:[/] {escape(note)}")


def print_line(console: Console, text: str) -> None:
    """Print a line without wrapping it."""
    console.print(text, soft_wrap=True)


def _print_left_out(entries: Sequence[str], console: Console) -> None:
    for entry in entries:
        print_line(console, f"[yellow]left out:[/] {escape(entry)}")


def _split_counts(data: Dataset) -> str:
    """Return the numbers of images, and of patients where they are known, of each split."""
    counts = []
    for name, split in data.splits.items():
        patients = f" ({len(set(split.patients.tolist()))} patients)" if data.patients_known else ""
        counts.append(f"{name} {len(split)}{patients}")
    return ", ".join(counts)


def _pixels(data: Dataset) -> str:
    """Return size, colour and depth of the images as text."""
    size = "x".join(map(str, data.shape)) if data.shape is not None else f"mixed, about {data.size}"
    colour = "grey" if data.channels == 1 else "colour"
    return f"{size} px, {colour}, {8 * data.dtype.itemsize} bit"


def _planned_features(features: FeaturePlan, cost: CostEstimate) -> Iterator[str]:
    """Yield lines on the size and time of frozen features, by set and in total."""
    for feature_set in (*features.stored, *features.missing):
        seconds = cost.feature_seconds.get(feature_set)
        origin = "kept from before" if seconds is None else f"about {format_duration(seconds)}"
        size = _mib(feature_set.nbytes)
        yield f"frozen features: {escape(str(feature_set.part))}, {size}, {origin}"
    if len(cost.feature_seconds) > 1:
        size = _mib(sum(feature_set.nbytes for feature_set in cost.feature_seconds))
        total = format_duration(sum(cost.feature_seconds.values()))
        yield f"  in all {size} to compute, about {total}"
    for note in features.notes:
        yield f"[yellow]left out:[/] {escape(note)}"


def _follow_up_cost(plan: Plan, cost: CostEstimate) -> Iterator[str]:
    """Yield a line on the trials that follow the search, and their cost."""
    numbers = follow_up_trials(plan)
    counts = {
        "under fresh seeds": numbers.replicates,
        "on re-splits": numbers.resplits,
        "of the ablation": numbers.ablations,
    }
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    if kinds:
        duration = format_duration(cost.afterwards)
        yield f"  then at most {numbers.trials} more trials ({kinds}): about {duration}"


def _confirmed_scores(
    settings: SearchSettings, trials: Sequence[Row], confirmed: ConfirmedFinalist
) -> str:
    """Return a finalist's mean on validation, and its median replicate's AUROC on test."""
    row = next(row for row in trials if row["trial_id"] == confirmed.median)
    mean = f"{settings.metric} [bold]{confirmed.mean:.4f}[/] over {len(confirmed.scores)} seeds"
    if row.get("test_auroc") is None:
        return mean
    low, high = row.get("test_auroc_low"), row.get("test_auroc_high")
    interval = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
    return f"{mean}; test AUROC of {confirmed.median} [bold]{row['test_auroc']:.3f}[/]{interval}"


def _mib(count: int) -> str:
    return f"{count / MIB:.1f} MiB"
