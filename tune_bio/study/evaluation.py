"""Evaluation of the finalists on validation and test: thresholds, metrics and their intervals."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_bio.analysis.statistics.intervals import Estimate
from tune_bio.analysis.statistics.model_evaluation import evaluate_model
from tune_bio.errors import StatisticsError
from tune_bio.records.predictions import SplitImages
from tune_bio.records.schema import Row
from tune_bio.records.tables import Records
from tune_bio.study.export import threshold_of
from tune_bio.study.planning.plan import Plan

COLUMNS = {"loss": (), "accuracy": ("low", "high"), "auroc": ("low", "high")}


def choose_thresholds(
    plan: Plan, records: Records, trials: Sequence[str]
) -> dict[str, float | None]:
    """Return each trial's operating point, from its validation probabilities.

    None if there are more than two classes.
    """
    if len(plan.dataset.classes) > 2:
        return dict.fromkeys(trials)
    return {t: threshold_of(plan, records.predictions[t].astype(np.float64)) for t in trials}


def evaluate_finalists(
    plan: Plan, records: Records, trials: Sequence[str], thresholds: dict[str, float | None]
) -> list[str]:
    """Record every metric of these trials with its interval; return notes on undefined splits."""
    undefined: dict[str, str] = {}
    validation = SplitImages(records.images, records.patients, records.labels)
    for trial in trials:
        for split, images, probabilities in (
            ("val", validation, records.predictions.get(trial)),
            ("test", records.test, records.test_predictions.get(trial)),
        ):
            if images is None or probabilities is None:
                continue
            try:
                rows = estimate_metrics(plan, images, probabilities, thresholds[trial])
            except StatisticsError as error:  # e.g. a test split without one of the classes
                undefined[split] = f"the {split} split is not evaluated: {error}"
                continue
            records.evaluations += [{"trial": trial, "split": split, **row} for row in rows]
            if split == "test":
                records.trials[trial].update(_test_columns(rows))
    return list(undefined.values())


def estimate_metrics(
    plan: Plan,
    images: SplitImages,
    probabilities: npt.NDArray[np.floating[Any]],
    threshold: float | None,
) -> list[Row]:
    """Return every metric of a predictor on a split, as rows of the evaluations table.

    Args:
        plan: the plan, for the classes, the prevalence and the seed of the bootstrap.
        images: the split.
        probabilities: the predicted probabilities, (n, classes).
        threshold: the predictor's operating point, or None.

    Raises:
        StatisticsError: a class has no images, or there is only one patient.
    """
    exact = probabilities.astype(np.float64)  # rounded to float32, a row does not sum to 1
    estimates = evaluate_model(
        images.labels,
        exact / exact.sum(axis=1, keepdims=True),
        images.patients,
        classes=plan.dataset.classes,
        positive=plan.dataset.positive,
        threshold=threshold,
        prevalence=plan.settings.prevalence,
        patients_known=plan.dataset.patients_known,
        seed=plan.settings.seed,
    )
    return list(map(_row, estimates))


def _row(estimate: Estimate) -> Row:
    names = ("metric", "value", "low", "high", "chance", "method", "note")
    return {name: _or_null(getattr(estimate, name)) for name in names}


def _or_null(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _test_columns(rows: Sequence[Row]) -> dict[str, float | None]:
    by_name = {row["metric"]: row for row in rows}
    columns: dict[str, float | None] = {}
    for metric, ends in COLUMNS.items():
        columns[f"test_{metric}"] = by_name[metric]["value"]
        columns |= {f"test_{metric}_{end}": by_name[metric][end] for end in ends}
    return columns
