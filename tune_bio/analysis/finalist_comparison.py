"""Comparison of the winner with the other finalists on the test set."""

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
    """The winner's median replicate compared with that of another finalist, on the test set.

    It generalizes to other patients, for these two trained models. `p_value` is corrected by Holm's
    method.
    """

    winner: str
    other: str
    comparison: Comparison
    p_value: float


@dataclass(frozen=True)
class ConfigurationComparison:
    """The winner's configuration compared with that of another finalist, on the test set.

    Both are represented by the mean over all of their replicates, so that the comparison
    generalizes to other patients and other seeds. `p_value` is corrected by Holm's method.
    """

    winner: str
    other: str
    mean: Estimate
    mean_of_other: Estimate
    difference: DifferenceOverSeeds
    p_value: float


def compare_models(study: StudyRecords, predictions: pd.DataFrame) -> tuple[ModelComparison, ...]:
    """Compare the winner's median replicate with those of the other finalists on the test set."""
    medians = [finalist["median"] for finalist in study.confirmed]
    tested = predictions[predictions["split"] == "test"]
    on_test = {str(trial): rows for trial, rows in tested.groupby("trial") if trial in set(medians)}
    # A study that was interrupted while predicting test images lacks some of these predictions.
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
    corrected = holm([comparison.p_value for comparison in comparisons])
    return tuple(
        ModelComparison(winner, other, comparison, p)
        for other, comparison, p in zip(others, comparisons, corrected, strict=True)
    )


def compare_configurations(
    study: StudyRecords, predictions: pd.DataFrame
) -> tuple[ConfigurationComparison, ...]:
    """Compare the winner's replicates with those of the other finalists on the test set."""
    tested = predictions[predictions["split"] == "test"]
    groups = {str(trial): rows for trial, rows in tested.groupby("trial", sort=True)}
    if any(trial not in groups for finalist in study.confirmed for trial in finalist["scores"]):
        return ()
    finalists = [
        (finalist["trial"], [groups[trial] for trial in finalist["scores"]])
        for finalist in study.confirmed
    ]
    if study.whole or len(finalists) < 2 or any(len(rows) < 2 for _, rows in finalists):
        return ()
    first = finalists[0][1][0]
    labels, patients = first["label"].to_numpy(), first["patient"].to_numpy()
    metric = study.metric.removeprefix("val_")
    kwargs: dict[str, Any] = {
        "positive": study.positive,
        "patients_known": study.patients_known,
        "seed": study.seed,
    }
    stacks = {
        name: np.stack([probabilities(rows) for rows in replicates])
        for name, replicates in finalists
    }
    means = {
        name: mean_over_seeds(labels, stack, patients, metric, **kwargs)
        for name, stack in stacks.items()
    }
    winner, *others = stacks
    differences = [
        compare_over_seeds(labels, stacks[winner], stacks[other], patients, metric, **kwargs)
        for other in others
    ]
    corrected = holm([difference.p_value for difference in differences])
    return tuple(
        ConfigurationComparison(winner, other, means[winner], means[other], difference, p)
        for other, difference, p in zip(others, differences, corrected, strict=True)
    )
