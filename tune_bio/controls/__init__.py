"""Negative controls of a study: simple predictors, shuffled labels, and flags for doubtful results.

`run_controls` fits the predictors; `shuffled_labels` and `permutation_p` are for a model trained
on meaningless labels; `flags` judges plain values.
"""

from tune_bio.controls.control import Control, Predictor
from tune_bio.controls.fit_controls import CONTROLS, run_controls
from tune_bio.controls.flags import Flag
from tune_bio.controls.shuffled_labels import permutation_p, shuffled_labels

__all__ = [
    "CONTROLS",
    "Control",
    "Flag",
    "Predictor",
    "permutation_p",
    "run_controls",
    "shuffled_labels",
]
