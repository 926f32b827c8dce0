"""report.html: one file for people, with nothing in it that comes from elsewhere."""

from pathlib import Path

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.page.comparison import comparison_content
from tune_bio.analysis.page.page_data import page_content
from tune_bio.analysis.page.rendering import render
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.common.files import write_text

PAGE = "report.html"

__all__ = ["PAGE", "write_comparison", "write_page"]


def write_page(
    study: StudyRecords, conclusions: Conclusions, folder: Path, path: Path | None = None
) -> Path:
    """Write a study's page; returns its path.

    Args:
        study, conclusions: what it tells.
        folder: of the study; what lies in its figures/ is embedded.
        path: of the page (default: report.html in the folder).
    """
    path = path or folder / PAGE
    write_text(path, render("report.html", page_content(study, conclusions, folder)))
    return path


def write_comparison(studies: dict[str, tuple[StudyRecords, Conclusions]], path: Path) -> Path:
    """Write a page that shows studies side by side, by name; returns its path."""
    write_text(path, render("comparison.html", comparison_content(studies)))
    return path
