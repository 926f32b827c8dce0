"""Input of the figures: a study's tables, its predictions and its conclusions."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.figures.style import short_label
from tune_bio.analysis.statistics.sample import Sample, checked_sample
from tune_bio.analysis.study_records import PARAMS, StudyRecords
from tune_bio.common.labels import without_split
from tune_bio.errors import StatisticsError

_SELF_EXPLANATORY = ("model", "weights", "freeze")  # their values are shown without their name


@dataclass(frozen=True)
class Configuration:
    """A configuration and its scores: by split, the metric of each trial (one trial per seed)."""

    trial: str
    label: str
    scores: Mapping[str, Mapping[str, float]]

    def mean(self, split: str) -> float:
        """Return the mean score over the seeds."""
        return float(np.mean(list(self.scores[split].values())))


@dataclass(frozen=True)
class FigureData:
    """The input of every figure.

    `predictions` is the table predictions.parquet, or empty; `conclusions` is None if there are
    none yet.
    """

    study: StudyRecords
    predictions: pd.DataFrame
    conclusions: Conclusions | None

    @property
    def classes(self) -> list[str]:
        """Class names."""
        return list(self.study.manifest["data"]["classes"])

    @property
    def units(self) -> str:
        """The unit of resampling: patients, or images if patients are unknown."""
        return "patients" if self.study.patients_known else "images"

    @property
    def opened(self) -> bool:
        """True if the test set was opened."""
        return bool(self.study.manifest.get("test_set_opened"))

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits on which models are evaluated; the test split only once it was opened."""
        return ("val", "test") if self.opened else ("val",)

    @cached_property
    def winner(self) -> str | None:
        """The trial whose model is in `best/`: the winner's median replicate, once confirmed."""
        trial = self.study.manifest.get("best_trial")
        return None if trial is None else str(trial)

    @property
    def threshold(self) -> float | None:
        """The winner's operating point, chosen on validation; None for more than two classes."""
        threshold = self.study.manifest.get("thresholds", {}).get(self.winner)
        return None if threshold is None else float(threshold)

    def describe(self, trial: str) -> str:
        """Describe a trial's configuration by the hyperparameters that vary in this study."""
        row, parts = self.study.trial(trial), []
        for name in self.study.searched:
            value = row[PARAMS + name]
            if pd.isna(value) or value == "none":
                continue
            whole = isinstance(value, float) and value.is_integer()
            label = short_label(int(value) if whole else value)
            parts.append(label if name in _SELF_EXPLANATORY else f"{name} {label}")
        return ", ".join(parts) or str(row[PARAMS + "model"])

    @cached_property
    def configurations(self) -> tuple[Configuration, ...]:
        """The confirmed configurations, best first."""
        scores, column = self.study.evaluations, without_split(self.study.metric)
        of_metric = scores[scores["metric"] == column] if len(scores) else scores
        test_scores: dict[str, float] = {}
        if len(of_metric) and self.opened:
            on_test = of_metric[of_metric["split"] == "test"]
            test_scores = dict(zip(on_test["trial"], on_test["value"], strict=True))
        return tuple(
            Configuration(
                entry["trial"],
                self.describe(entry["trial"]),
                {
                    "val": entry["scores"],
                    "test": {t: test_scores[t] for t in entry["scores"] if t in test_scores},
                },
            )
            for entry in self.study.confirmed
        )

    def rows(self, trial: str | None, split: str) -> pd.DataFrame:
        """Return a trial's predictions on a split; those on a sealed test split are left out."""
        if self.predictions.empty or split not in self.splits:
            return self.predictions.iloc[:0]
        table = self.predictions
        return table[(table["trial"] == trial) & (table["split"] == split)]

    def sample(self, split: str) -> Sample | None:
        """Return the winner's predictions on a split; None if they do not allow any statistic."""
        rows = self.rows(self.winner, split)
        if rows.empty:
            return None
        labels, patients = rows["label"].to_numpy(), rows["patient"].to_numpy()
        try:
            return checked_sample(labels, self.probabilities(rows), patients, self.study.positive)
        except StatisticsError:  # a class without images, or only one patient
            return None

    @cached_property
    def samples(self) -> dict[str, Sample]:
        """The winner's predictions by split; splits without a `sample` are left out."""
        samples = {split: self.sample(split) for split in self.splits}
        return {split: sample for split, sample in samples.items() if sample is not None}

    def probabilities(self, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return the class probabilities (n, classes) of n rows of the predictions."""
        stored = rows[[f"p_{name}" for name in self.classes]].to_numpy(np.float64)
        normalized: npt.NDArray[np.float64] = stored / stored.sum(axis=1, keepdims=True)
        return normalized

    @property
    def characters(self) -> set[str]:
        """All characters that may appear in a figure."""
        columns = [PARAMS + name for name in self.study.searched]
        texts: set[Any] = {*self.classes, *self.study.searched}
        for column in columns:
            texts |= set(self.study.trials[column].dropna().unique())
        return set("".join(map(str, texts)))
