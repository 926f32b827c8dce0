"""A study's results as tables, for notebooks and programs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pandas as pd

from tune_bio.records.manifest_file import read_manifest
from tune_bio.records.tables import read_epochs, read_evaluations, read_predictions, read_trials


@dataclass(frozen=True, eq=False)
class Results:
    """The records of a study, as they were on disk when they were read.

    trials: one row per trial.
    epochs: one row per trial and epoch.
    predictions: the probabilities of each image: of every trial on validation at its best epoch,
        and of the finalists on the test set, once it is open.
    evaluations: the finalists' metrics with their intervals, on validation and test.
    manifest: the content of experiment.json.
    """

    folder: Path
    trials: pd.DataFrame = field(repr=False)
    epochs: pd.DataFrame = field(repr=False)
    predictions: pd.DataFrame = field(repr=False)
    evaluations: pd.DataFrame = field(repr=False)
    manifest: dict[str, Any] = field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a study's folder.

        Raises:
            ResultsError: a file is missing or damaged.
        """
        return cls(
            folder,
            read_trials(folder),
            read_epochs(folder),
            read_predictions(folder),
            read_evaluations(folder),
            read_manifest(folder),
        )


def load_results(path: str | Path) -> Results:
    """Read the tables of a study, finished or not.

    Args:
        path: the study's folder, such as results/NAME.

    Raises:
        ResultsError: the folder does not contain a study, or it cannot be read.
    """
    return Results.read(Path(path))
