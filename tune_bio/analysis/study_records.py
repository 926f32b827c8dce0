"""A finished (or running) study, as figures and summaries read it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tune_bio.errors import ResultsError
from tune_bio.records.manifest_file import MANIFEST, read_manifest
from tune_bio.records.tables import read_epochs, read_evaluations, read_timeline, read_trials
from tune_bio.space.trial_config import METRIC_MODES, Params

PARAMS = "params."
LOG_SCALED = ("lr", "weight_decay")  # hyperparameters that are drawn on a logarithmic axis
NEEDED = ("name", "settings", "space", "data", "audit")  # of the manifest, by all that is told


@dataclass(frozen=True)
class StudyRecords:
    """The tables of one study, with `score` (the metric at the best epoch) beside each trial.

    `trials` are the search's own; `replicates` those that confirm some of them under fresh seeds.
    A study that has not `ended` is running, or was killed.
    """

    trials: pd.DataFrame
    replicates: pd.DataFrame
    epochs: pd.DataFrame
    evaluations: pd.DataFrame
    manifest: dict[str, Any]
    ended: bool = True

    @property
    def confirmed(self) -> list[dict[str, Any]]:
        """The finalists whose replicates have ended, the best first, as the manifest has them."""
        return list(self.manifest.get("confirmed", []))

    @property
    def ablation(self) -> dict[str, Any] | None:
        """The winner's changes with their scores, as the manifest has them; None: there are none.

        Their trials stand among the replicates.
        """
        found: dict[str, Any] | None = self.manifest.get("ablation")
        return found

    @property
    def resplits(self) -> dict[str, Any] | None:
        """The re-splits and the finalists' scores on them, as the manifest has them."""
        found: dict[str, Any] | None = self.manifest.get("resplits")
        return found

    @property
    def whole(self) -> bool:
        """Whether every configuration of a list was replicated, and so none was selected."""
        listed = self.manifest["space"]["listed"] is not None
        return listed and self.manifest["settings"].get("finalists") == "all"

    @property
    def not_run(self) -> list[dict[str, Any]]:
        """Listed configurations whose weights could not be had: `params` and `reason` of each."""
        return list(self.manifest.get("not_run", []))

    @staticmethod
    def params(row: pd.Series) -> Params:
        """The hyperparameters that are active in a trial's row."""
        given = row[[name for name in row.index if name.startswith(PARAMS)]].dropna()
        return {str(name).removeprefix(PARAMS): value for name, value in given.items()}

    @property
    def positive(self) -> int:
        """Index of the positive class."""
        data = self.manifest["data"]
        return int(data["classes"].index(data["positive_class"]))

    @property
    def patients_known(self) -> bool:
        """Whether images of one patient can be told."""
        return bool(self.manifest["data"]["patients_known"])

    @property
    def seed(self) -> int:
        """Of the study."""
        return int(self.manifest["settings"]["seed"])

    def trial(self, trial_id: str) -> pd.Series:
        """The row of a trial, of the search or of a confirmation."""
        both = self.trials if trial_id in set(self.trials["trial_id"]) else self.replicates
        row: pd.Series = both[both["trial_id"] == trial_id].iloc[0]
        return row

    @property
    def metric(self) -> str:
        """The validation column that the study ranks by."""
        return str(self.manifest["settings"]["metric"])

    @property
    def ascending(self) -> bool:
        """Whether a smaller metric is better."""
        return METRIC_MODES[self.metric] == "min"

    @cached_property
    def ranking(self) -> pd.DataFrame:
        """Trials with a score, the best first."""
        scored = self.trials.dropna(subset=["score"])
        return scored.sort_values("score", ascending=self.ascending, kind="stable")

    @cached_property
    def searched(self) -> list[str]:
        """Hyperparameters that took more than one value, in the order of the tables.

        One that is there on some trials only, with one value, tells nothing beside what made it
        appear; nor does one that the space does not name, as the width that is a model's default.
        """
        columns = [column for column in self.trials.columns if column.startswith(PARAMS)]
        varied = [c.removeprefix(PARAMS) for c in columns if self.trials[c].nunique() > 1]
        named = self.manifest["space"].get("hyperparameters", {})
        return [name for name in varied if name in named] or varied


def read_study(folder: Path) -> StudyRecords:
    """Read a study's folder; raises ResultsError."""
    trials, epochs, manifest = read_trials(folder), read_epochs(folder), read_manifest(folder)
    missing = [name for name in NEEDED if name not in manifest]
    if missing:
        raise ResultsError(
            f"{folder / MANIFEST} has no {', '.join(missing)}",
            "give the folder of a study, as in results/NAME, of this version of tune_bio",
        )
    metric = manifest["settings"]["metric"]
    at_best = trials[["trial_id", "best_epoch"]].merge(
        epochs, left_on=["trial_id", "best_epoch"], right_on=["trial_id", "epoch"], how="left"
    )
    trials = trials.assign(score=at_best[metric].to_numpy())
    first = trials["replicate"] == 0
    return StudyRecords(
        trials[first].reset_index(drop=True),
        trials[~first].reset_index(drop=True),
        epochs,
        read_evaluations(folder),
        {**_not_yet(folder), **manifest},
        ended="seconds" in manifest,
    )


def probabilities(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Class probabilities of rows of predictions.parquet, (rows, classes), summing to 1."""
    columns = [name for name in rows.columns if str(name).startswith("p_")]
    stored = rows[columns].to_numpy(np.float64)  # of float32, whose rounding shows in the sum
    found: npt.NDArray[np.float64] = stored / stored.sum(axis=1, keepdims=True)
    return found


def _not_yet(folder: Path) -> dict[str, Any]:
    """What the manifest of a study that has not ended lacks, from its tables."""
    timeline = read_timeline(folder)
    return {
        "best_trial": None,
        "seconds": max((end for _, end in timeline.values()), default=0.0),
        "test_set_opened_before": [],
        "timeline": timeline,
    }
