"""Figures of a study, as PNG and SVG files, from its records only; start at `save_figures`.

A figure is made only if it applies to the study: each has a condition that decides this.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.figures.calibration import applies_calibration, calibration
from tune_bio.analysis.figures.comparisons import applies_comparisons, comparisons
from tune_bio.analysis.figures.configurations import applies_configurations, configurations
from tune_bio.analysis.figures.confusion import applies_confusion, confusion_matrices
from tune_bio.analysis.figures.cost import applies_cost, cost_and_quality
from tune_bio.analysis.figures.discrimination import (
    applies_discrimination,
    roc_and_precision_recall,
)
from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.hyperparameters import applies_hyperparameters, hyperparameters
from tune_bio.analysis.figures.importance import applies_importances, importances
from tune_bio.analysis.figures.learning_curves import applies_learning_curves, learning_curves
from tune_bio.analysis.figures.parallel_coordinates import (
    applies_parallel_coordinates,
    parallel_coordinates,
)
from tune_bio.analysis.figures.style import add_mark, save, styled
from tune_bio.analysis.figures.timeline import applies_timeline, trials_over_time
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.records.manifest_file import LEAKAGE

__all__ = [
    "FIGURES",
    "FigureData",
    "FigureKind",
    "figure_data_of",
    "render_figures",
    "save_figures",
]


@dataclass(frozen=True)
class FigureKind:
    """A function that plots a figure, and one that decides whether it applies to a study.

    `quick` figures are also made for a search without finalists or an interrupted one.
    """

    plot: Callable[[FigureData], Figure]
    applies: Callable[[FigureData], bool]
    quick: bool = False


# In reading order.
FIGURES: dict[str, FigureKind] = {
    "configurations": FigureKind(configurations, applies_configurations),
    "comparisons": FigureKind(comparisons, applies_comparisons),
    "roc_pr": FigureKind(roc_and_precision_recall, applies_discrimination),
    "confusion": FigureKind(confusion_matrices, applies_confusion),
    "calibration": FigureKind(calibration, applies_calibration),
    "learning_curves": FigureKind(learning_curves, applies_learning_curves, quick=True),
    "hyperparameters": FigureKind(hyperparameters, applies_hyperparameters, quick=True),
    "importances": FigureKind(importances, applies_importances),
    "parallel_coordinates": FigureKind(parallel_coordinates, applies_parallel_coordinates),
    "cost": FigureKind(cost_and_quality, applies_cost),
    "trials_over_time": FigureKind(trials_over_time, applies_timeline, quick=True),
}


def save_figures(
    study: StudyRecords,
    folder: Path,
    predictions: pd.DataFrame | None = None,
    conclusions: Conclusions | None = None,
    *,
    quick: bool = False,
) -> list[Path]:
    """Write every figure that applies to a study into `folder`; return the PNG files.

    Args:
        study: the study's tables.
        folder: the output folder, created if it does not exist.
        predictions: predictions.parquet; figures that need it are left out if it is None.
        conclusions: conclusions from the tables; figures that need them are left out if None.
        quick: only the figures of a search without finalists.
    """
    data = figure_data_of(study, predictions, conclusions)
    plots = {
        name: partial(kind.plot, data)
        for name, kind in FIGURES.items()
        if (kind.quick or not quick) and kind.applies(data)
    }
    return render_figures(study, folder, plots, data.characters)


def figure_data_of(
    study: StudyRecords,
    predictions: pd.DataFrame | None = None,
    conclusions: Conclusions | None = None,
) -> FigureData:
    """Build the input of the figures; the arguments are those of `save_figures`."""
    return FigureData(study, pd.DataFrame() if predictions is None else predictions, conclusions)


def render_figures(
    study: StudyRecords,
    folder: Path,
    plots: Mapping[str, Callable[[], Figure]],
    characters: Iterable[str] = (),
) -> list[Path]:
    """Create figures in the common style and write them into `folder`; return the PNG files.

    Args:
        study: the study, whose warnings are written on every figure.
        folder: the output folder, created if it does not exist.
        plots: functions that create a figure, by file name without suffix.
        characters: all characters that may appear in the figures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with styled(characters) as missing:
        for name, plot in plots.items():
            figure = plot()
            add_mark(figure, _marks(study, missing))
            written.append(save(figure, folder, name))
    return written


def _marks(study: StudyRecords, missing: str) -> list[str]:
    """Return the warnings on a figure: synthetic data, an allowed leak, missing fonts."""
    data = study.manifest["data"]
    marks = ["synthetic data"] if data["synthetic"] else []
    if any(note.startswith(LEAKAGE) for note in data["notes"]):
        marks.append("leakage between splits")
    if missing:
        marks.append(
            f"no installed font has {len(missing)} of the characters: install fonts-noto-cjk"
        )
    return marks
