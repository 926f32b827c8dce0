"""The folder `tables/`: the table of trials as CSV and as LaTeX."""

from pathlib import Path

import pandas as pd

from tune_bio.analysis.study_records import StudyRecords
from tune_bio.analysis.tables.trial_table import report_table, trial_measures
from tune_bio.common.files import write_text

CSV, TEX = "trials.csv", "trials.tex"
ONE_PAGE = 40  # rows; longer tables break across pages


def write_tables(study: StudyRecords, folder: Path) -> None:
    """Write trials.csv (numbers in full precision) and trials.tex (formatted for readers)."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CSV, trial_measures(study).to_csv(index=False))
    write_text(folder / TEX, latex_table(report_table(study), str(study.manifest["name"])))


def latex_table(table: pd.DataFrame, name: str) -> str:
    """Return a table for `\\input` with booktabs rules; all cells are escaped."""
    long = len(table) > ONE_PAGE
    packages = "booktabs, longtable" if long else "booktabs"
    alignments = ["l" if column in _TEXTS else "r" for column in table.columns]
    body = (
        table.style.format(escape="latex")
        .format_index(escape="latex", axis="columns")
        .hide(axis="index")
        .to_latex(
            hrules=True,
            column_format="".join(alignments),
            environment="longtable" if long else None,
        )
    )
    title = " ".join(name.split())
    return f"% {title}, by tune_bio. Needs \\usepackage{{{packages}}}; use landscape.\n{body}"


_TEXTS = {"name", "hyperparameters", "status", "why"}
