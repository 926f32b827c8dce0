"""Statistics: arrays and tables in, small frozen result objects out.

Patients are clusters of images, and every interval accounts for that. Nothing here reads a file.
"""

from tune_bio.analysis.statistics.ablation import ChangeEffect, ablation
from tune_bio.analysis.statistics.comparison import Comparison, compare, holm
from tune_bio.analysis.statistics.effects import Effect, LevelDifference, effects
from tune_bio.analysis.statistics.importance import (
    Association,
    Importances,
    common_epoch,
    importances,
)
from tune_bio.analysis.statistics.intervals import Estimate
from tune_bio.analysis.statistics.model_evaluation import evaluate_model
from tune_bio.analysis.statistics.noise_floor import NoiseFloor, noise_floor
from tune_bio.analysis.statistics.over_seeds import (
    DifferenceOverSeeds,
    compare_over_seeds,
    mean_over_seeds,
)
from tune_bio.analysis.statistics.selection import Selection, corrected_selection

__all__ = [
    "Association",
    "ChangeEffect",
    "Comparison",
    "DifferenceOverSeeds",
    "Effect",
    "Estimate",
    "Importances",
    "LevelDifference",
    "NoiseFloor",
    "Selection",
    "ablation",
    "common_epoch",
    "compare",
    "compare_over_seeds",
    "corrected_selection",
    "effects",
    "evaluate_model",
    "holm",
    "importances",
    "mean_over_seeds",
    "noise_floor",
]
