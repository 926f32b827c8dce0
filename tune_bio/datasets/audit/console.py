"""Print an audit to a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tune_bio.common.labels import pluralize
from tune_bio.datasets.audit.findings import Audit, Finding, Severity

STYLES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "note": "cyan"}
MAX_EXAMPLES = 3  # per finding; the JSON file lists all of them


def print_audit(audit: Audit, console: Console) -> None:
    """Print the counts, and the findings with a few examples each."""
    console.print(f"[bold]audit of {escape(audit.source)}[/] ({escape(audit.split)})")
    console.print(_counts(audit))
    print_findings(audit.findings, console)
    console.print(_verdict(audit))


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """Print each finding with its severity, fault and remedy, and a few affected images."""
    if not findings:
        return
    table = Table(box=None, show_header=False, padding=(0, 1), expand=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(f"[{STYLES[finding.severity]}]{finding.severity}[/]", escape(finding.message))
        for line in _examples(finding):
            table.add_row("", f"[dim]{escape(line)}[/]")
    console.print(table)


def _counts(audit: Audit) -> Table:
    """Build a table of images by class and split, with patients if they are known."""
    table = Table(box=None, padding=(0, 1), expand=False)
    patients_known = any("patients" in count for count in audit.counts["train"].values())
    table.add_column("images (patients)" if patients_known else "images", style="bold")
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


def _examples(finding: Finding) -> list[str]:
    lines = [" | ".join(map(str, group)) for group in finding.groups[:MAX_EXAMPLES]]
    more = len(finding.groups) - MAX_EXAMPLES
    return [*lines, f"... and {more} more"] if more > 0 else lines


def _verdict(audit: Audit) -> str:
    if audit.errors:
        return f"[bold red]{pluralize(len(audit.errors), 'error')}[/]: a search would stop here"
    if audit.findings:
        return "[bold green]nothing that would stop a search[/]"
    return "[bold green]nothing found[/]"
