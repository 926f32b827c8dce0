"""The records: what every study leaves, one schema a table, written and read in one place.

The records are the truth: reports and statistics read them and nothing else. Columns that are
filled later, as those of the test set, are there from the beginning, null. `epochs_to_plateau` is
the first epoch by which 99 % of the fall of val_loss is done, `val_loss_jitter` its standard
deviation from epoch to epoch about its trend (both in `curves`).
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


# Written per layer as text ("512-256"); a study that only uses numbers gets a number column.
_NUMBER_OR_LIST = ("width", "dropout")
_PARAMS = "params."
_WIDTH = _PARAMS + "width"


@dataclass
class Records:
    """The tables of one study, growing in memory and written whole.

    `images`, `patients` and `labels` describe the validation split, (n,) each, in the order of
    the probabilities that trials return; `classes` are the classes' names. `timeline` holds each
    trial's first and last moment, in seconds since the study began. `test` is None until the test
    set is opened. `others` describe the validation split of trials that have another one.
    """

    folder: Path
    classes: tuple[str, ...]
    images: npt.NDArray[np.str_]
    patients: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]
    trials: dict[str, Row] = field(default_factory=dict)
    epochs: dict[str, dict[int, Row]] = field(default_factory=dict)
    predictions: Predictions = field(default_factory=dict)
    others: dict[str, SplitImages] = field(default_factory=dict)
    test: SplitImages | None = None
    test_predictions: Predictions = field(default_factory=dict)
    evaluations: list[Row] = field(default_factory=list)
    timeline: dict[str, list[float]] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def start_trial(
        self, trial_id: str, config_id: str, config: TrialConfig, replicate: int = 0
    ) -> None:
        """Add a trial's row, `running`, with its hyperparameters.

        What it said of test images before, if it is trained on, is that of another model.
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
        """Return the time since the study started, without the time before a `--resume`."""
        return time.monotonic() - self.began

    def update_trial(self, trial_id: str, **values: Any) -> None:
        """Set columns of a trial's row."""
        self.trials[trial_id].update(values)
        self.timeline[trial_id][1] = self.seconds_since_start()

    def add_epochs(self, trial_id: str, rows: Sequence[Row]) -> None:
        """Add epochs of a trial, in order; a curve from the first epoch on replaces what was there.

        A resumed trial begins so: it may go on from an earlier epoch than was recorded.
        """
        if rows and rows[0]["epoch"] == 1:
            self.epochs[trial_id] = {}
        for row in rows:
            self.epochs.setdefault(trial_id, {})[row["epoch"]] = {"trial_id": trial_id, **row}

    def curve(self, trial_id: str) -> list[Row]:
        """The epochs of a trial, in order."""
        return list(self.epochs.get(trial_id, {}).values())

    def write(self) -> None:
        """Write every table, whole; the one of trials last, so that it claims no missing epoch."""
        trials = [self.trials[trial_id] for trial_id in sorted(self.trials)]
        rows = [row for trial_id in sorted(self.epochs) for row in self.curve(trial_id)]
        _write(self.folder / EPOCHS, pa.Table.from_pylist(rows, pa.schema(EPOCH_COLUMNS)))
        _write(self.folder / PREDICTIONS, self.prediction_table())
        evaluations = pa.Table.from_pylist(self.evaluations, pa.schema(EVALUATION_COLUMNS))
        _write(self.folder / EVALUATIONS, evaluations)
        _write(self.folder / TRIALS, pa.Table.from_pylist(trials, self._trial_schema()))

    def restore(self) -> None:
        """Read the tables that an earlier run of this study has written; raises ResultsError."""
        trials, epochs = _read_table(self.folder / TRIALS), _read_table(self.folder / EPOCHS)
        predictions = read_predictions(self.folder)
        self.trials = {row["trial_id"]: _active(row) for row in trials.to_pylist()}
        for row in map(_active, epochs.to_pylist()):
            if row["trial_id"] in self.trials:
                self.epochs.setdefault(row["trial_id"], {})[row["epoch"]] = row
        known = predictions[predictions["trial"].isin(list(self.trials))]
        for trial, split, described, found in stored_predictions(known, self.classes):
            if split == "test":
                self.test = described
            elif not np.array_equal(described.images, self.images):
                self.others[trial] = described
            into = self.test_predictions if split == "test" else self.predictions
            into[trial] = found
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
        """predictions.parquet as it would be written now."""
        validation = SplitImages(self.images, self.patients, self.labels)
        own = {t: p for t, p in self.predictions.items() if t not in self.others}
        tables = [prediction_table("val", validation, own, self.classes)]
        for trial, described in sorted(self.others.items()):
            if trial in self.predictions:
                of_trial = {trial: self.predictions[trial]}
                tables.append(prediction_table("val", described, of_trial, self.classes))
        if self.test is not None:
            tables.append(prediction_table("test", self.test, self.test_predictions, self.classes))
        return pa.concat_tables(tables)


def config_of_row(row: Row) -> TrialConfig:
    """What a row of trials.parquet has trained."""
    found = {key.removeprefix(_PARAMS): v for key, v in row.items() if key.startswith(_PARAMS)}
    return TrialConfig.of({**found, "seed": row["seed"]})


def read_trials(folder: Path) -> pd.DataFrame:
    """trials.parquet as a table; raises ResultsError."""
    return _read(folder / TRIALS)


def read_timeline(folder: Path) -> dict[str, list[float]]:
    """Each trial's first and last moment, in seconds since the study began; raises ResultsError."""
    metadata = _read_table(folder / TRIALS).schema.metadata or {}
    timeline: dict[str, list[float]] = json.loads(metadata.get(_TIMELINE, b"{}"))
    return timeline


def read_epochs(folder: Path) -> pd.DataFrame:
    """epochs.parquet as a table; raises ResultsError."""
    return _read(folder / EPOCHS)


def read_predictions(folder: Path) -> pd.DataFrame:
    """predictions.parquet as a table; raises ResultsError."""
    return _read(folder / PREDICTIONS)


def read_evaluations(folder: Path) -> pd.DataFrame:
    """evaluations.parquet as a table; raises ResultsError."""
    return _read(folder / EVALUATIONS)


def is_empty_table(path: Path) -> bool:
    """Whether it is a table, and one without rows."""
    try:
        return int(pq.read_metadata(path).num_rows) == 0
    except (OSError, pa.ArrowException):
        return False


def _write(path: Path, table: pa.Table) -> None:
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


def _read_table(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except FileNotFoundError as error:  # whose text is the path alone
        raise ResultsError(f"{path} cannot be read (it is not there)", FOLDER_REMEDY) from error
    except (OSError, pa.ArrowException) as error:
        raise ResultsError(f"{path} cannot be read ({error})", FOLDER_REMEDY) from error


def _active(row: Row) -> Row:
    """A row without its nulls, as it was before it was written."""
    active = {name: value for name, value in row.items() if value is not None}
    if isinstance(active.get(_WIDTH), float):  # a column of numbers has one type
        active[_WIDTH] = int(active[_WIDTH])
    return active


def _read(path: Path) -> pd.DataFrame:
    table: pd.DataFrame = _read_table(path).to_pandas()
    return table
