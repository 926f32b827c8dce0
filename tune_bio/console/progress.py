"""Progress of a running study on the console: a live display, plain lines in a pipe, or none."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import Progress
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tune_bio.common.labels import format_duration
from tune_bio.records.ranking import rank, score
from tune_bio.records.schema import Row
from tune_bio.records.tables import Records
from tune_bio.records.trial_names import TrialName
from tune_bio.space.settings import SearchSettings

SELF_EXPLANATORY = ("model", "weights", "freeze")  # their values speak for themselves
ENDED = ("completed", "stopped_early", "diverged", "failed", "interrupted")
ReportProgress = Callable[[int, int], None]  # number of items that are done, and their total
STYLES = {"completed": "green", "stopped_early": "cyan", "diverged": "yellow", "failed": "red"}


class TrialView(Protocol):
    """A view of the trials, which the recorder notifies."""

    def started(self, trial_id: str) -> None:
        """Show that a trial has started."""

    def progressed(self, trial_id: str) -> None:
        """Show that a trial has reported epochs."""

    def ended(self, trial_id: str) -> None:
        """Show that a trial has ended, with any status."""


class QuietView:
    """A view that shows nothing."""

    def started(self, trial_id: str) -> None: ...

    def progressed(self, trial_id: str) -> None: ...

    def ended(self, trial_id: str) -> None: ...


class PlainView(QuietView):
    """A view that prints one line per ended trial, for logs and pipes."""

    def __init__(
        self,
        console: Console,
        records: Records,
        settings: SearchSettings,
        shown: Collection[str],
        total: int,
        ended: int,
    ) -> None:
        self._shown = shown
        self._console = console
        self._records = records
        self._settings = settings
        self._total = total
        self._ended = ended

    def ended(self, trial_id: str) -> None:
        self._ended += 1
        row = self._records.trials[trial_id]
        value = score(row, self._records, self._settings)
        reached = (
            f"{self._settings.metric} {value:.4f} at epoch {row['best_epoch']}"
            if value is not None
            else "-"
        )
        epochs, seconds = row.get("epochs_run") or 0, row.get("seconds") or 0.0
        line = (
            f"[{self._ended}/{self._total}] {trial_id} {row['status']}: {reached}, "
            f"{epochs} epochs, {seconds:.0f} s; {hyperparameters_text(row, self._shown)}"
        )
        if row["error"]:
            line += f"\n    {row['error']}"
        self._console.print(Text(line), soft_wrap=True)


class LiveView(QuietView):
    """A display that is redrawn: the running trials, the best ones, and the remaining time."""

    def __init__(
        self, records: Records, settings: SearchSettings, shown: Collection[str], total: int
    ) -> None:
        self._shown = shown
        self._records = records
        self._settings = settings
        self._total = total
        self._began = time.monotonic()

    def __rich__(self) -> RenderableType:
        rows = list(self._records.trials.values())
        return Group(self._header(rows), self._running(rows), self._leaders(rows))

    def _header(self, rows: list[Row]) -> RenderableType:
        counts = Counter(row["status"] for row in rows)
        ended = sum(counts[status] for status in ENDED)
        elapsed = time.monotonic() - self._began
        left = (
            f"about {format_duration(elapsed / ended * (self._total - ended))} left"
            if ended
            else ""
        )
        grid = Table.grid(padding=(0, 1))
        summary = [
            f"[{STYLES.get(status, 'default')}]{counts[status]} {status.replace('_', ' ')}[/]"
            for status in ENDED
            if counts[status]
        ]
        grid.add_row(
            f"[bold]{ended}/{self._total}[/] trials",
            ProgressBar(total=self._total, completed=ended, width=24),
            f"{format_duration(elapsed)}  {left}",
            "  ".join(summary),
        )
        return grid

    def _running(self, rows: list[Row]) -> RenderableType:
        table = _table("running", self._settings.metric)
        for row in rows:
            if row["status"] == "running":
                curve = self._records.curve(row["trial_id"])
                now = curve[-1].get(self._settings.metric) if curve else None
                epoch = f"{row.get('epochs_run') or 0}/{row['params.epochs']}"
                table.add_row(*_cells(row, now, epoch, self._shown))
        if not rows:
            table.add_row("", "", "", "starting Ray's worker processes ...", style="dim")
        return table

    def _leaders(self, rows: list[Row]) -> RenderableType:
        table = _table("best so far", self._settings.metric)
        # Scores on another split are not comparable.
        comparable = [row for row in rows if not TrialName.parse(row["trial_id"]).resplit]
        for value, row in rank(comparable, self._records, self._settings)[:5]:
            table.add_row(*_cells(row, value, str(row["best_epoch"]), self._shown))
        return table


@contextmanager
def trial_display(
    console: Console,
    records: Records,
    settings: SearchSettings,
    shown: Collection[str],
    total: int,
    *,
    quiet: bool,
    ended: int = 0,
) -> Iterator[TrialView]:
    """Yield the view that fits the terminal, and show it while the block runs.

    `shown` are the hyperparameters that distinguish trials; `total` is the number of trials, and
    `ended` the number of those that had ended before the study was resumed.
    """
    if quiet:
        yield QuietView()
    elif console.is_terminal:
        live_view = LiveView(records, settings, shown, total)
        with Live(live_view, console=console, refresh_per_second=4):
            yield live_view
    else:
        yield PlainView(console, records, settings, shown, total, ended)


def hyperparameters_text(row: Row, names: Collection[str]) -> str:
    """Return a trial's values of these hyperparameters as a short text."""
    values = {name: row.get(f"params.{name}") for name in names}
    parts = []
    for name, value in values.items():
        if value is None or (name in SELF_EXPLANATORY and value == "none"):
            continue
        text = f"{value:.2g}" if isinstance(value, float) else str(value)
        parts.append(text if name in SELF_EXPLANATORY else f"{name}={text}")
    return " ".join(parts)


def _table(title: str, metric: str) -> Table:
    table = Table(box=None, padding=(0, 1), expand=False)
    table.add_column(title, style="bold")
    table.add_column(metric, justify="right")
    table.add_column("epoch", justify="right")
    table.add_column("hyperparameters", no_wrap=True, overflow="ellipsis")
    return table


def _cells(
    row: Row, value: float | None, epoch: str, shown: Collection[str]
) -> tuple[str, str, str, str]:
    return (
        row["trial_id"],
        "" if value is None else f"{value:.4f}",
        epoch,
        escape(hyperparameters_text(row, shown)),
    )


@contextmanager
def progress_bar(console: Console, description: str = "reading images") -> Iterator[ReportProgress]:
    """Yield a function that reports progress in a bar, which appears with the first report."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = None

        def report(done: int, total: int) -> None:
            nonlocal task
            if task is None:
                task = bar.add_task(description, total=total)
            bar.update(task, completed=done)

        yield report
