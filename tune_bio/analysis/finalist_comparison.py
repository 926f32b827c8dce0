"""The winner against the other finalists on the test set: two questions with two answers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tune_bio.analysis.statistics import (
    Comparison,
    DifferenceOverSeeds,
    Estimate,
    compare,
    compare_over_seeds,
    holm,
    mean_over_seeds,
)
from tune_bio.analysis.study_records import StudyRecords, probabilities


@dataclass(frozen=True)
class ModelComparison:
    """Is this model better? The winner's replicate in the middle against that of another finalist.

    On the test set: for other patients, and these two trained models. `p_value` corrected by Holm.
    """

    winner: str
    other: str
    comparison: Comparison
    p_value: float


@dataclass(frozen=True)
class ConfigurationComparison:
    """Is this setting better? The winner's configuration against that of another finalist.

    On the test set, by the mean over all of their replicates: for other patients and other seeds.
    `p_value` corrected by Holm.
    """

    winner: str
    other: str
    mean: Estimate
    mean_of_other: Estimate
    difference: DifferenceOverSeeds
    p_value: float


def compare_models(study: StudyRecords, predictions: pd.DataFrame) -> tuple[ModelComparison, ...]:
    """The winner's replicate in the middle against those of the other finalists, on test."""
    medians = [one["median"] for one in study.confirmed]
    tested = predictions[predictions["split"] == "test"]
    on_test = {str(trial): rows for trial, rows in tested.groupby("trial") if trial in set(medians)}
    # One that was interrupted while test images were predicted has not opened it for all.
    if len(medians) < 2 or study.whole or not set(medians) <= on_test.keys():
        return ()
    winner, *others = medians
    rows = on_test[winner]
    comparisons = [
        compare(
            rows["label"].to_numpy(),
            probabilities(rows),
            probabilities(on_test[other]),
            rows["patient"].to_numpy(),
            study.metric.removeprefix("val_"),
            positive=study.positive,
            patients_known=study.patients_known,
            seed=study.seed,
        )
        for other in others
    ]
    corrected = holm([each.p_value for each in comparisons])
    return tuple(
        ModelComparison(winner, other, each, p)
        for other, each, p in zip(others, comparisons, corrected, strict=True)
    )


def compare_configurations(
    study: StudyRecords, predictions: pd.DataFrame
) -> tuple[ConfigurationComparison, ...]:
    """The winner's replicates against those of the other finalists, on test."""
    tested = predictions[predictions["split"] == "test"]
    groups = {str(trial): rows for trial, rows in tested.groupby("trial", sort=True)}
    if any(trial not in groups for one in study.confirmed for trial in one["scores"]):
        return ()
    of_all = [(one["trial"], [groups[trial] for trial in one["scores"]]) for one in study.confirmed]
    if study.whole or len(of_all) < 2 or any(len(rows) < 2 for _, rows in of_all):
        return ()
    first = of_all[0][1][0]
    labels, patients = first["label"].to_numpy(), first["patient"].to_numpy()
    metric = study.metric.removeprefix("val_")
    how: dict[str, Any] = {
        "positive": study.positive,
        "patients_known": study.patients_known,
        "seed": study.seed,
    }
    stacks = {name: np.stack([probabilities(rows) for rows in found]) for name, found in of_all}
    means = {n: mean_over_seeds(labels, s, patients, metric, **how) for n, s in stacks.items()}
    winner, *others = stacks
    differences = [
        compare_over_seeds(labels, stacks[winner], stacks[other], patients, metric, **how)
        for other in others
    ]
    corrected = holm([each.p_value for each in differences])
    return tuple(
        ConfigurationComparison(winner, other, means[winner], means[other], each, p)
        for other, each, p in zip(others, differences, corrected, strict=True)
    )
