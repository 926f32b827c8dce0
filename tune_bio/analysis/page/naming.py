"""Metrics, configurations and durations, as people say them."""

import pandas as pd

from tune_bio.analysis.report_table import hyperparameters_of, interval
from tune_bio.analysis.study_records import StudyRecords

NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "macro_f1": "macro F1",
    "brier": "Brier score",
    "ppv": "PPV",
    "npv": "NPV",
    "ece": "ECE",
}


def metric_name(metric: str) -> str:
    """A metric for people: "validation AUROC" of val_auroc, "AUROC" of auroc."""
    name = metric.removeprefix("val_")
    told = NAMES.get(name, name.replace("_", " "))
    return told if name == metric else f"validation {told}"


def configuration(study: StudyRecords, row: pd.Series) -> str:
    """A trial's hyperparameters, of those that varied."""
    return hyperparameters_of(study.params(row), study.searched)


def estimate(row: pd.Series, column: str) -> str:
    """A metric of a trial's row, with the interval of `column`_low and _high where it has one."""
    return interval(*(row[column + end] for end in ("", "_low", "_high")))


def duration(seconds: float) -> str:
    """In seconds, minutes or hours."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
