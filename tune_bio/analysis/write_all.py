"""All that is told of a study in words and tables, from its records; figures are drawn before."""

from pathlib import Path

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.optuna_log import write_optuna_study
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.analysis.summary.summary import write_summary
from tune_bio.analysis.tables.table_files import write_tables


def write_all(
    study: StudyRecords, conclusions: Conclusions, folder: Path, page: Path | None = None
) -> Path:
    """Write tables, summary, Optuna's study and, with the figures that are there, the page.

    Args:
        study: its tables.
        conclusions: what was drawn from them.
        folder: the study's.
        page: where the page goes; by default, to the others.

    Returns:
        The path of the page.
    """
    from tune_bio.analysis.page.write_page import write_page

    write_tables(study, folder / "tables")
    write_summary(study, conclusions, folder)
    write_optuna_study(study, folder)
    return write_page(study, conclusions, folder, page)
