"""Write report.html and comparison.html, which load nothing from outside the file."""

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
    """Write the page of a study and return its path.

    Args:
        study, conclusions: the content of the page.
        folder: the study's folder; the images in its figures/ are embedded.
        path: the path of the page (default: report.html in `folder`).
    """
    path = path or folder / PAGE
    write_text(path, render("report.html", page_content(study, conclusions, folder)))
    return path


def write_comparison(studies: dict[str, tuple[StudyRecords, Conclusions]], path: Path) -> Path:
    """Write a page that compares studies, given by name, and return its path."""
    write_text(path, render("comparison.html", comparison_content(studies)))
    return path
