"""What figures are drawn from: a study's tables, its predictions and its conclusions."""

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

_PLAIN = ("model", "weights", "freeze")  # their values say what they are


@dataclass(frozen=True)
class Configuration:
    """A configuration under several seeds: the metric of each trial on validation and on test."""

    trial: str
    label: str
    scores: Mapping[str, Mapping[str, float]]

    def mean(self, split: str) -> float:
        """Over the seeds."""
        return float(np.mean(list(self.scores[split].values())))


@dataclass(frozen=True)
class FigureData:
    """`predictions`: predictions.parquet, or empty. `conclusions`: None if there are none yet."""

    study: StudyRecords
    predictions: pd.DataFrame
    conclusions: Conclusions | None

    @property
    def classes(self) -> list[str]:
        """Their names."""
        return list(self.study.manifest["data"]["classes"])

    @property
    def units(self) -> str:
        """What is resampled: patients, or images where patients are not known."""
        return "patients" if self.study.patients_known else "images"

    @property
    def opened(self) -> bool:
        """Whether the test set was opened."""
        return bool(self.study.manifest.get("test_set_opened"))

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that models are judged on here."""
        return ("val", "test") if self.opened else ("val",)

    @cached_property
    def winner(self) -> str | None:
        """The trial in `best/`: the winner's replicate in the middle, if anything was confirmed."""
        found = self.study.manifest.get("best_trial")
        return None if found is None else str(found)

    @property
    def threshold(self) -> float | None:
        """The winner's operating point, chosen on validation; None for many classes."""
        found = self.study.manifest.get("thresholds", {}).get(self.winner)
        return None if found is None else float(found)

    def describe(self, trial: str) -> str:
        """A trial's configuration, as far as it tells trials of this study apart."""
        row, parts = self.study.trial(trial), []
        for name in self.study.searched:
            value = row[PARAMS + name]
            if pd.isna(value) or value == "none":
                continue
            whole = isinstance(value, float) and value.is_integer()
            told = short_label(int(value) if whole else value)
            parts.append(told if name in _PLAIN else f"{name} {told}")
        return ", ".join(parts) or str(row[PARAMS + "model"])

    @cached_property
    def settings(self) -> tuple[Configuration, ...]:
        """The configurations that were confirmed, the best first."""
        found, column = self.study.evaluations, without_split(self.study.metric)
        of_metric = found[found["metric"] == column] if len(found) else found
        tested: dict[str, float] = {}
        if len(of_metric) and self.opened:
            on_test = of_metric[of_metric["split"] == "test"]
            tested = dict(zip(on_test["trial"], on_test["value"], strict=True))
        return tuple(
            Configuration(
                one["trial"],
                self.describe(one["trial"]),
                {
                    "val": one["scores"],
                    "test": {t: tested[t] for t in one["scores"] if t in tested},
                },
            )
            for one in self.study.confirmed
        )

    def rows(self, trial: str | None, split: str) -> pd.DataFrame:
        """A trial's predictions on a split; the test split's only where it was opened."""
        if self.predictions.empty or split not in self.splits:
            return self.predictions.iloc[:0]
        table = self.predictions
        return table[(table["trial"] == trial) & (table["split"] == split)]

    def sample(self, split: str) -> Sample | None:
        """What the winner says of a split; None where that allows no statistic."""
        rows = self.rows(self.winner, split)
        if rows.empty:
            return None
        labels, patients = rows["label"].to_numpy(), rows["patient"].to_numpy()
        try:
            return checked_sample(labels, self.probabilities(rows), patients, self.study.positive)
        except StatisticsError:  # a class without images, or one patient alone
            return None

    @cached_property
    def samples(self) -> dict[str, Sample]:
        """`sample` of each split that has one."""
        found = {split: self.sample(split) for split in self.splits}
        return {split: sample for split, sample in found.items() if sample is not None}

    def probabilities(self, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
        """(n, classes) of a part of the predictions."""
        stored = rows[[f"p_{name}" for name in self.classes]].to_numpy(np.float64)
        found: npt.NDArray[np.float64] = stored / stored.sum(axis=1, keepdims=True)
        return found

    @property
    def characters(self) -> set[str]:
        """Every character that a figure may show."""
        columns = [PARAMS + name for name in self.study.searched]
        texts: set[Any] = {*self.classes, *self.study.searched}
        for column in columns:
            texts |= set(self.study.trials[column].dropna().unique())
        return set("".join(map(str, texts)))
