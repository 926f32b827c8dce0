"""python -m tune_bio.audit: find the defects of a data source that would distort scores."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tune_bio.common.files import write_text
from tune_bio.common.imports import importing
from tune_bio.console.parser import EXIT_FAILED, EXIT_OK, Parser, run_command
from tune_bio.errors import ResultsError, UsageError
from tune_bio.space.settings import SearchSettings

if TYPE_CHECKING:
    from tune_bio.datasets.audit.audit import Audited
    from tune_bio.datasets.audit.findings import Finding


EPILOG = """\
examples:
  python -m tune_bio.audit scans/
      patients and copies in several splits, class balance, defects
  python -m tune_bio.audit scans/ --names-only
      only what the file names say about patients, in seconds
  python -m tune_bio.audit data.npz --json audit.json --sheet audit.png
      all findings as JSON, and a contact sheet to look at

Images are decoded once and kept in the cache, where a search finds them again.
Images of the test split are compared but never shown.

exit status: 0 nothing would stop a search; 1 something would; 2 bad input; 130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_command(
        lambda: _run(_parser().parse_args(arguments)),
        "interrupted; fully decoded images stay in the cache",
    )


def _run(options: argparse.Namespace) -> int:
    SearchSettings.of({"seed": options.seed})  # refuse what a search would refuse
    for path in (options.json, options.sheet):
        _refuse_unwritable(path)
    console = Console(highlight=False, quiet=options.quiet)
    if options.names_only:
        return _audit_names_only(options, console)
    audited = _audit(options, console)
    from tune_bio.datasets.audit.console import print_audit

    print_audit(audited.audit, console)
    if options.json is not None:
        write_text(options.json, json.dumps(audited.audit.to_json(), indent=1) + "\n")
    if options.sheet is not None:
        _save_sheet(options.sheet, audited, console)
    return EXIT_FAILED if audited.audit.errors else EXIT_OK


def _audit(options: argparse.Namespace, console: Console) -> "Audited":
    with importing():
        from tune_bio.console.progress import progress_bar
        from tune_bio.datasets.audit.audit import audit_source
        from tune_bio.datasets.audit.console import print_findings

    def print_name_findings(findings: "Sequence[Finding]") -> None:
        if findings:
            console.print("[bold]findings in the file names[/] (images are read next)")
            print_findings(findings, console)

    return audit_source(
        options.source,
        seed=options.seed,
        positive_class=options.positive_class,
        patient_pattern=options.patient_pattern,
        cache_dir=options.cache_dir,
        stage=partial(progress_bar, console),
        on_name_findings=print_name_findings,
    )


def _audit_names_only(options: argparse.Namespace, console: Console) -> int:
    with importing():
        from tune_bio.datasets.audit.audit import audit_names, has_names
        from tune_bio.datasets.audit.console import print_findings

    if not has_names(options.source):
        raise UsageError(
            f"--names-only: {options.source} is not a folder of image files",
            "leave --names-only out; any other source is audited by its pixels",
        )
    if options.json is not None or options.sheet is not None:
        raise UsageError(
            "--names-only cannot be combined with --json or --sheet", "leave one of them out"
        )
    findings = audit_names(options.source, patient_pattern=options.patient_pattern)
    print_findings(findings, console)
    if not findings:
        console.print("by their names, no patient is in more than one split")
    return EXIT_FAILED if any(finding.severity == "error" for finding in findings) else EXIT_OK


def _save_sheet(path: Path, audited: "Audited", console: Console) -> None:
    from tune_bio.datasets.audit.contact_sheet import save_contact_sheet

    if not save_contact_sheet(path, audited.audit, audited.dataset, audited.geometry):
        console.print("no finding has images to show: no contact sheet is written")


def _refuse_unwritable(path: Path | None) -> None:
    if path is not None and (path.is_dir() or not os.access(path.absolute().parent, os.W_OK)):
        fault = "is a folder" if path.is_dir() else "is not in a folder that you may write to"
        raise ResultsError(f"{path} {fault}", "give the path of a file")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "audit",
        "SOURCE [options]",
        "Audit a data source before training on it: leaks between splits, copies, classes, "
        "defects.",
        EPILOG,
    )
    parser.add_argument("source", metavar="SOURCE", help="source as in --data of tune_bio.search")
    add = parser.add_argument_group("how the source is read (as in a search)").add_argument
    add(
        "--patient-pattern",
        metavar="REGEX",
        help=r"regular expression that finds the patient in an image's path, e.g. '(patient\d+)_'",
    )
    add("--positive-class", metavar="NAME", help="must be one of the classes (default: the last)")
    add(
        "--seed",
        metavar="N",
        type=int,
        default=0,
        help="seed of the splits, for a source without its own (default: 0)",
    )
    add(
        "--cache-dir",
        metavar="DIR",
        type=Path,
        help="cache of decoded images and hashes (default: ~/.cache/tune_bio)",
    )
    add("--names-only", action="store_true", help="audit only the file names, in seconds")
    add = parser.add_argument_group("output").add_argument
    add("--json", metavar="FILE", type=Path, help="write all findings as JSON")
    add("--sheet", metavar="FILE.png", type=Path, help="draw the findings, copies side by side")
    add("--quiet", action="store_true", help="print errors only")
    return parser


if __name__ == "__main__":
    sys.exit(main())
