"""The records of a study: its tables, written and read in one place, one schema per table.

The records are the truth: reports and statistics read nothing else. `schema` describes the columns.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tune_bio.common.files import replacing
from tune_bio.errors import ResultsError
from tune_bio.records.predictions import (
    Predictions,
    SplitImages,
    prediction_table,
    stored_predictions,
)
from tune_bio.records.schema import (
    ARROW_TYPES,
    EPOCH_COLUMNS,
    EPOCHS,
    EVALUATION_COLUMNS,
    EVALUATIONS,
    FOLDER_REMEDY,
    PREDICTIONS,
    TRIAL_COLUMNS,
    TRIALS,
    Row,
)
from tune_bio.space.trial_config import TrialConfig, hyperparameter_names

_TIMELINE = b"tune_bio.timeline"


# Lists, one value per layer, are text ("512-256"); a study with only numbers has a number column.
_NUMBER_OR_LIST = ("width", "dropout")
_PARAMS = "params."
_WIDTH = _PARAMS + "width"


@dataclass
class Records:
    """The tables of one study, which grow in memory and are written whole.

    `images`, `patients` and `labels` describe the validation split, (n,) each, in the order of
    the probabilities that trials return; `classes` are the names of the classes. `timeline` has
    the start and the end of each trial, in seconds since the study began. `test` is None until the
    test set is opened. `other_val_splits` has, by trial, those that differ from the
    study's.
    """

    folder: Path
    classes: tuple[str, ...]
    images: npt.NDArray[np.str_]
    patients: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]
    trials: dict[str, Row] = field(default_factory=dict)
    epochs: dict[str, dict[int, Row]] = field(default_factory=dict)
    predictions: Predictions = field(default_factory=dict)
    other_val_splits: dict[str, SplitImages] = field(default_factory=dict)
    test: SplitImages | None = None
    test_predictions: Predictions = field(default_factory=dict)
    evaluations: list[Row] = field(default_factory=list)
    timeline: dict[str, list[float]] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def start_trial(
        self, trial_id: str, config_id: str, config: TrialConfig, replicate: int = 0
    ) -> None:
        """Add a trial's row, `running`, with its hyperparameters.

        Test predictions of a trial that is trained further are dropped: they are of another model.
        """
        self.test_predictions.pop(trial_id, None)
        now = self.seconds_since_start()
        self.timeline[trial_id] = [now, now]
        self.trials[trial_id] = {
            "trial_id": trial_id,
            "config_id": config_id,
            "status": "running",
            "replicate": replicate,
            "seed": config.seed,
            **{f"params.{name}": value for name, value in config.params().items()},
        }

    def seconds_since_start(self) -> float:
        """Return the time since the study started, without the pause before a `--resume`."""
        return time.monotonic() - self.began

    def update_trial(self, trial_id: str, **values: Any) -> None:
        """Set columns of a trial's row."""
        self.trials[trial_id].update(values)
        self.timeline[trial_id][1] = self.seconds_since_start()

    def add_epochs(self, trial_id: str, rows: Sequence[Row]) -> None:
        """Add epochs of a trial, in order; rows from the first epoch on replace the old curve.

        A resumed trial starts with such rows: it may continue from an earlier epoch than the last
        recorded one.
        """
        if rows and rows[0]["epoch"] == 1:
            self.epochs[trial_id] = {}
        for row in rows:
            self.epochs.setdefault(trial_id, {})[row["epoch"]] = {"trial_id": trial_id, **row}

    def curve(self, trial_id: str) -> list[Row]:
        """Return the epochs of a trial, in order."""
        return list(self.epochs.get(trial_id, {}).values())

    def write(self) -> None:
        """Write every table, whole; trials last, so that they refer to no missing epoch."""
        trials = [self.trials[trial_id] for trial_id in sorted(self.trials)]
        rows = [row for trial_id in sorted(self.epochs) for row in self.curve(trial_id)]
        _write(self.folder / EPOCHS, pa.Table.from_pylist(rows, pa.schema(EPOCH_COLUMNS)))
        _write(self.folder / PREDICTIONS, self.prediction_table())
        evaluations = pa.Table.from_pylist(self.evaluations, pa.schema(EVALUATION_COLUMNS))
        _write(self.folder / EVALUATIONS, evaluations)
        _write(self.folder / TRIALS, pa.Table.from_pylist(trials, self._trial_schema()))

    def restore(self) -> None:
        """Read the tables that an earlier run of this study has written.

        Raises:
            ResultsError: a table is missing or damaged.
        """
        trials, epochs = _read_table(self.folder / TRIALS), _read_table(self.folder / EPOCHS)
        predictions = read_predictions(self.folder)
        self.trials = {row["trial_id"]: _active(row) for row in trials.to_pylist()}
        for row in map(_active, epochs.to_pylist()):
            if row["trial_id"] in self.trials:
                self.epochs.setdefault(row["trial_id"], {})[row["epoch"]] = row
        known = predictions[predictions["trial"].isin(list(self.trials))]
        for trial, split, images, probabilities in stored_predictions(known, self.classes):
            if split == "test":
                self.test = images
            elif not np.array_equal(images.images, self.images):
                self.other_val_splits[trial] = images
            predictions_of_split = self.test_predictions if split == "test" else self.predictions
            predictions_of_split[trial] = probabilities
        self.timeline = read_timeline(self.folder)
        last = max((end for _, end in self.timeline.values()), default=0.0)
        self.began = time.monotonic() - last

    def _trial_schema(self) -> pa.Schema:
        params = [(f"params.{name}", self._param_type(name)) for name in hyperparameter_names()]
        schema = pa.schema([*TRIAL_COLUMNS[:6], *params, *TRIAL_COLUMNS[6:]])
        return schema.with_metadata({_TIMELINE: json.dumps(self.timeline).encode()})

    def _param_type(self, name: str) -> pa.DataType:
        if name in _NUMBER_OR_LIST:
            values = [row.get(f"params.{name}") for row in self.trials.values()]
            if any(isinstance(value, str) for value in values):
                for row in self.trials.values():
                    if f"params.{name}" in row:
                        row[f"params.{name}"] = str(row[f"params.{name}"])
                return pa.string()
            return pa.float64()
        annotation = TrialConfig.model_fields[name].annotation
        return ARROW_TYPES.get(annotation, pa.string())

    def prediction_table(self) -> pa.Table:
        """Return predictions.parquet as it would be written now."""
        validation = SplitImages(self.images, self.patients, self.labels)
        own = {t: p for t, p in self.predictions.items() if t not in self.other_val_splits}
        tables = [prediction_table("val", validation, own, self.classes)]
        for trial, images in sorted(self.other_val_splits.items()):
            if trial in self.predictions:
                of_trial = {trial: self.predictions[trial]}
                tables.append(prediction_table("val", images, of_trial, self.classes))
        if self.test is not None:
            tables.append(prediction_table("test", self.test, self.test_predictions, self.classes))
        return pa.concat_tables(tables)


def config_of_row(row: Row) -> TrialConfig:
    """Return the configuration that a row of trials.parquet has trained."""
    params = {key.removeprefix(_PARAMS): v for key, v in row.items() if key.startswith(_PARAMS)}
    return TrialConfig.of({**params, "seed": row["seed"]})


def read_trials(folder: Path) -> pd.DataFrame:
    """Read trials.parquet; raises ResultsError."""
    return _read(folder / TRIALS)


def read_timeline(folder: Path) -> dict[str, list[float]]:
    """Read each trial's start and end, in seconds since the study began; raises ResultsError."""
    metadata = _read_table(folder / TRIALS).schema.metadata or {}
    timeline: dict[str, list[float]] = json.loads(metadata.get(_TIMELINE, b"{}"))
    return timeline


def read_epochs(folder: Path) -> pd.DataFrame:
    """Read epochs.parquet; raises ResultsError."""
    return _read(folder / EPOCHS)


def read_predictions(folder: Path) -> pd.DataFrame:
    """Read predictions.parquet; raises ResultsError."""
    return _read(folder / PREDICTIONS)


def read_evaluations(folder: Path) -> pd.DataFrame:
    """Read evaluations.parquet; raises ResultsError."""
    return _read(folder / EVALUATIONS)


def is_empty_table(path: Path) -> bool:
    """Return True if the file is a table without rows."""
    try:
        return int(pq.read_metadata(path).num_rows) == 0
    except (OSError, pa.ArrowException):
        return False


def _write(path: Path, table: pa.Table) -> None:
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


def _read_table(path: Path) -> pa.Table:
    try:
        # Opened once: given a path, pyarrow opens it twice, and a running study may have replaced
        # the file in between.
        with pa.OSFile(str(path)) as file:
            return pq.read_table(file)
    except FileNotFoundError as error:  # its text is only the path
        raise ResultsError(f"{path} cannot be read (it does not exist)", FOLDER_REMEDY) from error
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(f"{path} cannot be read ({error})", FOLDER_REMEDY) from error


def _active(row: Row) -> Row:
    """Return a row without its nulls, as it was before it was written."""
    active = {name: value for name, value in row.items() if value is not None}
    if isinstance(active.get(_WIDTH), float):  # a column of numbers has one type
        active[_WIDTH] = int(active[_WIDTH])
    return active


def _read(path: Path) -> pd.DataFrame:
    table: pd.DataFrame = _read_table(path).to_pandas()
    return table
