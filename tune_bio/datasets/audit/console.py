"""An audit as a person sees it in a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tune_bio.common.labels import pluralize
from tune_bio.datasets.audit.findings import Audit, Finding, Severity

STYLES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "note": "cyan"}
NAMED = 3  # examples of a finding; all of them stand in the JSON


def print_audit(audit: Audit, console: Console) -> None:
    """The counts, and the findings with a few examples each."""
    console.print(f"[bold]audit of {escape(audit.source)}[/] ({escape(audit.split)})")
    console.print(_counts(audit))
    print_findings(audit.findings, console)
    console.print(_verdict(audit))


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """Findings, one below the other: what and what to do, and whom it affected."""
    if not findings:
        return
    table = Table(box=None, show_header=False, padding=(0, 1), expand=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for found in findings:
        table.add_row(f"[{STYLES[found.severity]}]{found.severity}[/]", escape(found.message))
        for line in _examples(found):
            table.add_row("", f"[dim]{escape(line)}[/]")
    console.print(table)


def _counts(audit: Audit) -> Table:
    """Images by class and split, and patients where they are known."""
    table = Table(box=None, padding=(0, 1), expand=False)
    known = any("patients" in count for count in audit.counts["train"].values())
    table.add_column("images (patients)" if known else "images", style="bold")
    for split in audit.counts:
        table.add_column(split, justify="right")
    for name in audit.counts["train"]:
        cells = []
        for classes in audit.counts.values():
            count = classes[name]
            patients = f" ({count['patients']})" if "patients" in count else ""
            cells.append(f"{count['images']}{patients}")
        table.add_row(escape(name), *cells)
    return table


def _examples(found: Finding) -> list[str]:
    lines = [" | ".join(map(str, group)) for group in found.groups[:NAMED]]
    more = len(found.groups) - NAMED
    return [*lines, f"... and {more} more"] if more > 0 else lines


def _verdict(audit: Audit) -> str:
    if audit.errors:
        return f"[bold red]{pluralize(len(audit.errors), 'error')}[/]: a search would stop here"
    if audit.findings:
        return "[bold green]nothing that would stop a search[/]"
    return "[bold green]nothing found[/]"
