"""Figures, as PNG and SVG, from the records alone; `save_figures` is the face.

Each is drawn only where it says something of the study at hand: a condition stands beside it.
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
    "save_figures",
    "save_image_figure",
]


@dataclass(frozen=True)
class FigureKind:
    """How a figure is drawn, and whether it says anything of a study.

    `quick` figures are those that a bare search is worth.
    """

    draw: Callable[[FigureData], Figure]
    worth: Callable[[FigureData], bool]
    quick: bool = False


# In the order in which they should be looked at.
FIGURES: dict[str, FigureKind] = {
    "settings": FigureKind(configurations, applies_configurations),
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
    """Draw into `folder` every figure that says something of a study; returns the PNG files.

    Args:
        study: its tables.
        folder: made where it is not there.
        predictions: predictions.parquet; without them, what they are needed for is left out.
        conclusions: what was drawn from the tables; the same.
        quick: only what a bare search is worth.
    """
    material = figure_data_of(study, predictions, conclusions)
    drawn = {
        name: partial(drawing.draw, material)
        for name, drawing in FIGURES.items()
        if (drawing.quick or not quick) and drawing.worth(material)
    }
    return save_image_figure(study, folder, drawn, material.characters)


def figure_data_of(
    study: StudyRecords,
    predictions: pd.DataFrame | None = None,
    conclusions: Conclusions | None = None,
) -> FigureData:
    """What figures are drawn from; the arguments are those of `save_figures`."""
    return FigureData(study, pd.DataFrame() if predictions is None else predictions, conclusions)


def save_image_figure(
    study: StudyRecords,
    folder: Path,
    drawn: Mapping[str, Callable[[], Figure]],
    characters: Iterable[str] = (),
) -> list[Path]:
    """Draw these in the style, and write each into `folder`; returns the PNG files.

    Args:
        study: says what must be marked on every figure.
        folder: made where it is not there.
        drawn: by the name of the file.
        characters: all that may be written on the figures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with styled(characters) as missing:
        for name, draw in drawn.items():
            figure = draw()
            add_mark(figure, _marks(study, missing))
            written.append(save(figure, folder, name))
    return written


def _marks(study: StudyRecords, missing: str) -> list[str]:
    """What must not be overlooked: synthetic data, a leak that was allowed, lacking fonts."""
    data = study.manifest["data"]
    found = ["synthetic data"] if data["synthetic"] else []
    if any(note.startswith(LEAKAGE) for note in data["notes"]):
        found.append("leakage between splits")
    if missing:
        found.append(f"no font here has {len(missing)} of the characters: install fonts-noto-cjk")
    return found
