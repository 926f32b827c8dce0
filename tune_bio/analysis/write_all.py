"""Write all tables, texts and the page of a study from its records; figures are drawn earlier."""

from pathlib import Path

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.analysis.summary.summary import write_summary
from tune_bio.analysis.tables.table_files import write_tables


def write_all(
    study: StudyRecords, conclusions: Conclusions, folder: Path, page: Path | None = None
) -> Path:
    """Write the tables, the summary and the page with all existing figures.

    Args:
        study: the tables of the study.
        conclusions: the conclusions that were derived from them.
        folder: the study's folder.
        page: the path of the page (default: report.html in `folder`).

    Returns:
        The path of the page.
    """
    from tune_bio.analysis.page.write_page import write_page

    write_tables(study, folder / "tables")
    write_summary(study, conclusions, folder)
    return write_page(study, conclusions, folder, page)
