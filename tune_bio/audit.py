"""python -m tune_bio.audit: look for what would make scores on a data source wrong."""

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
      patients and copies on two sides of a split, balance of classes, defects
  python -m tune_bio.audit scans/ --names-only
      what the file names alone tell of patients, in seconds
  python -m tune_bio.audit data.npz --json audit.json --sheet audit.png
      everything for a program, and a contact sheet for the eye

Images are decoded once and kept in the cache, where a search finds them again.
Images of the test split are compared and never shown.

exit status: 0 nothing that would stop a search; 1 something would; 2 bad input;
130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return run_command(
        lambda: _run(_parser().parse_args(arguments)),
        "interrupted; what was decoded whole is kept in the cache",
    )


def _run(options: argparse.Namespace) -> int:
    SearchSettings.of({"seed": options.seed})  # refuses what a search would refuse
    for path in (options.json, options.sheet):
        _refuse_unwritable(path)
    console = Console(highlight=False, quiet=options.quiet)
    if options.names_only:
        return _names_only(options, console)
    audited = _audited(options, console)
    from tune_bio.datasets.audit.console import print_audit

    print_audit(audited.audit, console)
    if options.json is not None:
        write_text(options.json, json.dumps(audited.audit.to_json(), indent=1) + "\n")
    if options.sheet is not None:
        _save_sheet(options.sheet, audited, console)
    return EXIT_FAILED if audited.audit.errors else EXIT_OK


def _audited(options: argparse.Namespace, console: Console) -> "Audited":
    with importing():
        from tune_bio.console.progress import progress_bar
        from tune_bio.datasets.audit.audit import audit_source
        from tune_bio.datasets.audit.console import print_findings

    def tell(findings: "Sequence[Finding]") -> None:
        if findings:
            console.print("[bold]what the names tell[/] (images are read next)")
            print_findings(findings, console)

    return audit_source(
        options.source,
        seed=options.seed,
        positive_class=options.positive_class,
        patient_pattern=options.patient_pattern,
        cache_dir=options.cache_dir,
        stage=partial(progress_bar, console),
        tell=tell,
    )


def _names_only(options: argparse.Namespace, console: Console) -> int:
    with importing():
        from tune_bio.datasets.audit.audit import audit_names, has_names
        from tune_bio.datasets.audit.console import print_findings

    if not has_names(options.source):
        raise UsageError(
            f"--names-only, and {options.source} is no folder of image files",
            "leave it out: the audit of anything else looks at pixels",
        )
    if options.json is not None or options.sheet is not None:
        raise UsageError("--names-only goes without --json and --sheet", "leave one of them out")
    findings = audit_names(options.source, patient_pattern=options.patient_pattern)
    print_findings(findings, console)
    if not findings:
        console.print("the names tell of no patient in more than one split")
    return EXIT_FAILED if any(f.severity == "error" for f in findings) else EXIT_OK


def _save_sheet(path: Path, audited: "Audited", console: Console) -> None:
    from tune_bio.datasets.audit.contact_sheet import save_contact_sheet

    if not save_contact_sheet(path, audited.audit, audited.dataset, audited.geometry):
        console.print("no image to look at was found: no sheet is written")


def _refuse_unwritable(path: Path | None) -> None:
    if path is not None and (path.is_dir() or not os.access(path.absolute().parent, os.W_OK)):
        fault = "is a folder" if path.is_dir() else "lies in no folder that you may write to"
        raise ResultsError(f"{path} {fault}", "give the path of a file")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "audit",
        "SOURCE [options]",
        "Audit a data source before anything trains on it: leaks between splits, copies, classes, "
        "defects.",
        EPILOG,
    )
    parser.add_argument("source", metavar="SOURCE", help="as --data of tune_bio.search takes it")
    add = parser.add_argument_group("how the source is read, as in a search").add_argument
    add(
        "--patient-pattern",
        metavar="REGEX",
        help=r"finds the patient in an image's path, such as '(patient\d+)_'",
    )
    add("--positive-class", metavar="NAME", help="must be one of the classes (default: the last)")
    add(
        "--seed",
        metavar="N",
        type=int,
        default=0,
        help="of the splits, where the source gives none (default: 0)",
    )
    add(
        "--cache-dir",
        metavar="DIR",
        type=Path,
        help="where decoded images and hashes are kept (default: ~/.cache/tune_bio)",
    )
    add("--names-only", action="store_true", help="look at file names alone, in seconds")
    add = parser.add_argument_group("what you get").add_argument
    add("--json", metavar="FILE", type=Path, help="write everything that was found")
    add("--sheet", metavar="FILE.png", type=Path, help="draw what was found, copies side by side")
    add("--quiet", action="store_true", help="say nothing but errors")
    return parser


if __name__ == "__main__":
    sys.exit(main())
