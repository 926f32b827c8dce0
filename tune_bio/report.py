"""python -m tune_bio.report: rebuild the figures, summary and report of studies from records."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from tune_bio.common.imports import importing
from tune_bio.console.parser import EXIT_OK, Parser, run_command
from tune_bio.errors import ResultsError

if TYPE_CHECKING:
    import pandas as pd

    from tune_bio.analysis.conclusions import Conclusions
    from tune_bio.analysis.study_records import StudyRecords

    LoadedStudy = tuple[StudyRecords, pd.DataFrame, Conclusions]

COMPARISON = "comparison.html"

EPILOG = """\
examples:
  python -m tune_bio.report results/transfer
      figures, summary.md and report.html of a study, also while it runs or after it was killed
  python -m tune_bio.report results/transfer results/scans
      the same for both studies, and results/comparison.html, which shows them side by side

Only the records are read: trials, epochs, predictions, evaluations and the manifest. Nothing is
trained and no image is read.

exit status: 0 success; 2 bad input; 130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_command(
        lambda: _run(_parser().parse_args(arguments)),
        "interrupted; every file that was written is complete",
    )


def _run(options: argparse.Namespace) -> int:
    console = Console(highlight=False, quiet=options.quiet)
    folders = list(dict.fromkeys(path.absolute() for path in options.results))
    single = len(folders) == 1
    try:
        if options.output is not None and options.output.is_dir():
            raise ResultsError(f"{options.output} is a folder", "give the path of a file")
        with importing():
            studies = {folder: _read(folder) for folder in folders}
        for folder, study in studies.items():
            _write_report(folder, *study, options.output if single else None, console)
        if not single:
            path = options.output or folders[0].parent / COMPARISON
            _compare(studies, path, console)
    except OSError as error:
        raise ResultsError(
            f"{error.filename} cannot be written ({error.strerror})",
            "check the permissions of its folder and the free disk space",
        ) from error
    return EXIT_OK


def _read(folder: Path) -> "LoadedStudy":
    from tune_bio.analysis.conclusions import derive_conclusions
    from tune_bio.analysis.study_records import read_study
    from tune_bio.records.tables import read_predictions

    study, predictions = read_study(folder), read_predictions(folder)
    return study, predictions, derive_conclusions(study, predictions)


def _write_report(
    folder: Path,
    study: "StudyRecords",
    predictions: "pd.DataFrame",
    conclusions: "Conclusions",
    output: Path | None,
    console: Console,
) -> None:
    """Write all outputs derived from a study's records, and print which."""
    from tune_bio.analysis.figures.draw_all import save_figures
    from tune_bio.analysis.write_all import write_all

    figures: list[Path] = []
    if not study.ranking.empty:
        figures = save_figures(study, folder / "figures", predictions, conclusions)
    page = write_all(study, conclusions, folder, output)
    state = "" if study.ended else ", not ended"
    summary = (
        f"{study.manifest['name']} ({len(study.trials)} trials{state}): {len(figures)} figures"
    )
    console.print(f"{escape(summary)}, summary.md, {escape(str(page))}", soft_wrap=True)


def _compare(studies: "dict[Path, LoadedStudy]", path: Path, console: Console) -> None:
    from tune_bio.analysis.page.write_page import write_comparison

    names_differ = len({folder.name for folder in studies}) == len(studies)
    study_by_name = {
        folder.name if names_differ else str(folder): (study, conclusions)
        for folder, (study, _, conclusions) in studies.items()
    }
    write_comparison(study_by_name, path)
    console.print(f"side by side: {escape(str(path))}", soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "report",
        "RESULTS [RESULTS ...] [options]",
        "Rebuild figures, summary.md and report.html of studies from their records, at any time; "
        "for several studies, also write a page that shows them side by side.",
        EPILOG,
    )
    parser.add_argument(
        "results", metavar="RESULTS", nargs="+", type=Path, help="folder of a study: results/NAME"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="path of the page: of the report of one study (default: its report.html), or of the "
        "comparison of several (default: comparison.html next to the first)",
    )
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    return parser


if __name__ == "__main__":
    sys.exit(main())
