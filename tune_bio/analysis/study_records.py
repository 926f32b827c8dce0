"""The records of a finished or running study, in the form that figures and summaries read."""

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
REQUIRED = ("name", "settings", "space", "data", "audit")  # manifest entries that reports need


@dataclass(frozen=True)
class StudyRecords:
    """The tables of one study; each trial also has its `score`, the metric at the best epoch.

    `trials` are those of the search; `replicates` are the trials that followed it, most of them to
    confirm finalists under fresh seeds. A study that has not `ended` is running or was killed.
    """

    trials: pd.DataFrame
    replicates: pd.DataFrame
    epochs: pd.DataFrame
    evaluations: pd.DataFrame
    manifest: dict[str, Any]
    ended: bool = True

    @property
    def confirmed(self) -> list[dict[str, Any]]:
        """Manifest entries of the finalists whose replicates have finished, the best first."""
        return list(self.manifest.get("confirmed", []))

    @property
    def ablation(self) -> dict[str, Any] | None:
        """Manifest entry of the winner's changes and their scores; None without an ablation.

        The trials of the changes are among the replicates.
        """
        entry: dict[str, Any] | None = self.manifest.get("ablation")
        return entry

    @property
    def resplits(self) -> dict[str, Any] | None:
        """Manifest entry of the re-splits and the finalists' scores on them, or None."""
        entry: dict[str, Any] | None = self.manifest.get("resplits")
        return entry

    @property
    def whole(self) -> bool:
        """True if every configuration of a list was replicated, so that none was selected."""
        listed = self.manifest["space"]["listed"] is not None
        return listed and self.manifest["settings"].get("finalists") == "all"

    @property
    def not_run(self) -> list[dict[str, Any]]:
        """Listed configurations whose weights are unavailable: `params` and `reason` of each."""
        return list(self.manifest.get("not_run", []))

    @staticmethod
    def params(row: pd.Series) -> Params:
        """Return the hyperparameters that are active in a trial's row."""
        active = row[[name for name in row.index if name.startswith(PARAMS)]].dropna()
        return {str(name).removeprefix(PARAMS): value for name, value in active.items()}

    @property
    def positive(self) -> int:
        """Index of the positive class."""
        data = self.manifest["data"]
        return int(data["classes"].index(data["positive_class"]))

    @property
    def patients_known(self) -> bool:
        """True if it is known which images are of the same patient."""
        return bool(self.manifest["data"]["patients_known"])

    @property
    def seed(self) -> int:
        """Seed of the study."""
        return int(self.manifest["settings"]["seed"])

    def trial(self, trial_id: str) -> pd.Series:
        """Return the row of a trial, whether of the search or a replicate."""
        table = self.trials if trial_id in set(self.trials["trial_id"]) else self.replicates
        row: pd.Series = table[table["trial_id"] == trial_id].iloc[0]
        return row

    @property
    def metric(self) -> str:
        """Validation column by which the study ranks trials."""
        return str(self.manifest["settings"]["metric"])

    @property
    def ascending(self) -> bool:
        """True if a smaller metric is better."""
        return METRIC_MODES[self.metric] == "min"

    @cached_property
    def ranking(self) -> pd.DataFrame:
        """Trials with a score, the best first."""
        scored = self.trials.dropna(subset=["score"])
        return scored.sort_values("score", ascending=self.ascending, kind="stable")

    @cached_property
    def searched(self) -> list[str]:
        """Hyperparameters that took more than one value, in the order of the tables.

        A hyperparameter that only some trials have, with a single value, adds nothing to the one
        that activates it. Nor does one that the space does not name, such as the default width of
        a model.
        """
        columns = [column for column in self.trials.columns if column.startswith(PARAMS)]
        varied = [c.removeprefix(PARAMS) for c in columns if self.trials[c].nunique() > 1]
        named = self.manifest["space"].get("hyperparameters", {})
        return [name for name in varied if name in named] or varied


def read_study(folder: Path) -> StudyRecords:
    """Read the records in a study's folder.

    Raises:
        ResultsError: the folder is not a readable study of this version.
    """
    trials, epochs, manifest = read_trials(folder), read_epochs(folder), read_manifest(folder)
    missing = [name for name in REQUIRED if name not in manifest]
    if missing:
        raise ResultsError(
            f"{folder / MANIFEST} has no {', '.join(missing)}",
            "give the folder of a study of this version of tune_bio, such as results/NAME",
        )
    metric = manifest["settings"]["metric"]
    at_best = trials[["trial_id", "best_epoch"]].merge(
        epochs, left_on=["trial_id", "best_epoch"], right_on=["trial_id", "epoch"], how="left"
    )
    trials = trials.assign(score=at_best[metric].to_numpy())
    in_search = trials["replicate"] == 0
    return StudyRecords(
        trials[in_search].reset_index(drop=True),
        trials[~in_search].reset_index(drop=True),
        epochs,
        read_evaluations(folder),
        {**_entries_of_running_study(folder), **manifest},
        ended="seconds" in manifest,
    )


def probabilities(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return the class probabilities in rows of predictions.parquet, (rows, classes).

    Each row sums to 1.
    """
    columns = [name for name in rows.columns if str(name).startswith("p_")]
    stored = rows[columns].to_numpy(np.float64)  # stored as float32: sums differ slightly from 1
    normalized: npt.NDArray[np.float64] = stored / stored.sum(axis=1, keepdims=True)
    return normalized


def _entries_of_running_study(folder: Path) -> dict[str, Any]:
    """Return the entries that the manifest of an unfinished study lacks, from its tables."""
    timeline = read_timeline(folder)
    return {
        "best_trial": None,
        "seconds": max((end for _, end in timeline.values()), default=0.0),
        "test_set_opened_before": [],
        "timeline": timeline,
    }
