"""Figures, as PNG and SVG, from the records alone; `draw_all` is the face.

Each is drawn only where it says something of the study at hand: a condition stands beside it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.figures.calibration import calibration, worth_calibration
from tune_bio.analysis.figures.comparisons import comparisons, worth_comparisons
from tune_bio.analysis.figures.configurations import settings, worth_settings
from tune_bio.analysis.figures.confusion import confusion_matrices, worth_confusion
from tune_bio.analysis.figures.cost import cost_and_quality, worth_cost
from tune_bio.analysis.figures.discrimination import roc_and_precision_recall, worth_discrimination
from tune_bio.analysis.figures.figure_data import Material
from tune_bio.analysis.figures.hyperparameters import hyperparameters, worth_hyperparameters
from tune_bio.analysis.figures.importance import importances, worth_importances
from tune_bio.analysis.figures.learning_curves import learning_curves, worth_curves
from tune_bio.analysis.figures.parallel_coordinates import parallel_coordinates, worth_parallel
from tune_bio.analysis.figures.style import mark, save, styled
from tune_bio.analysis.figures.timeline import trials_over_time, worth_timeline
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.records.manifest_file import LEAKAGE

__all__ = ["FIGURES", "Drawing", "Material", "draw_all", "material_of", "save_drawn"]


@dataclass(frozen=True)
class Drawing:
    """How a figure is drawn, and whether it says anything of a study.

    `quick` figures are those that a bare search is worth.
    """

    draw: Callable[[Material], Figure]
    worth: Callable[[Material], bool]
    quick: bool = False


# In the order in which they should be looked at.
FIGURES: dict[str, Drawing] = {
    "settings": Drawing(settings, worth_settings),
    "comparisons": Drawing(comparisons, worth_comparisons),
    "roc_pr": Drawing(roc_and_precision_recall, worth_discrimination),
    "confusion": Drawing(confusion_matrices, worth_confusion),
    "calibration": Drawing(calibration, worth_calibration),
    "learning_curves": Drawing(learning_curves, worth_curves, quick=True),
    "hyperparameters": Drawing(hyperparameters, worth_hyperparameters, quick=True),
    "importances": Drawing(importances, worth_importances),
    "parallel_coordinates": Drawing(parallel_coordinates, worth_parallel),
    "cost": Drawing(cost_and_quality, worth_cost),
    "trials_over_time": Drawing(trials_over_time, worth_timeline, quick=True),
}


def draw_all(
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
    material = material_of(study, predictions, conclusions)
    drawn = {
        name: partial(drawing.draw, material)
        for name, drawing in FIGURES.items()
        if (drawing.quick or not quick) and drawing.worth(material)
    }
    return save_drawn(study, folder, drawn, material.characters)


def material_of(
    study: StudyRecords,
    predictions: pd.DataFrame | None = None,
    conclusions: Conclusions | None = None,
) -> Material:
    """What figures are drawn from; the arguments are those of `draw_all`."""
    return Material(study, pd.DataFrame() if predictions is None else predictions, conclusions)


def save_drawn(
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
            mark(figure, _marks(study, missing))
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
