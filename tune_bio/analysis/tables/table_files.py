"""`tables/`: the table of trials as files for a spreadsheet and for a paper."""

from pathlib import Path

import pandas as pd

from tune_bio.analysis.study_records import StudyRecords
from tune_bio.analysis.tables.trial_table import reports_table, trial_figures
from tune_bio.common.files import write_text

CSV, TEX = "trials.csv", "trials.tex"
ONE_PAGE = 40  # rows; longer tables are broken over pages


def write_tables(study: StudyRecords, folder: Path) -> None:
    """Write trials.csv (numbers, all digits) and trials.tex (as a reader wants them)."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CSV, trial_figures(study).to_csv(index=False))
    write_text(folder / TEX, latex_table(reports_table(study), str(study.manifest["name"])))


def latex_table(table: pd.DataFrame, name: str) -> str:
    """A table for `\\input`, with the rules of booktabs; everything in it is escaped."""
    long = len(table) > ONE_PAGE
    packages = "booktabs, longtable" if long else "booktabs"
    numeric = ["l" if column in _TEXTS else "r" for column in table.columns]
    body = (
        table.style.format(escape="latex")
        .format_index(escape="latex", axis="columns")
        .hide(axis="index")
        .to_latex(
            hrules=True,
            column_format="".join(numeric),
            environment="longtable" if long else None,
        )
    )
    told = " ".join(name.split())
    return f"% {told}, by tune_bio. Needs \\usepackage{{{packages}}}; wide: turn the page.\n{body}"


_TEXTS = {"name", "hyperparameters", "status", "why"}
