"""The test set: sealed until nothing is left to be chosen, then opened once, and on record.

Winner, exported replicate and threshold are fixed before; a test score changes none of them.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_bio import bundle
from tune_bio.analysis.statistics.intervals import Estimate
from tune_bio.analysis.statistics.model import evaluate_model
from tune_bio.datasets.geometry import Geometry
from tune_bio.errors import ResultsError, StatisticsError, StudyError
from tune_bio.models import input_transform
from tune_bio.predictions import Described
from tune_bio.progress import Tell
from tune_bio.records import MANIFEST, Records, Row, config_of, read_manifest
from tune_bio.study.best import backbone_of, best_epoch, threshold_of
from tune_bio.study.plan import Plan
from tune_bio.training import predict

Opening = dict[str, Any]
COLUMNS = {"loss": (), "accuracy": ("low", "high"), "auroc": ("low", "high")}


def opening_of(plan: Plan, records: Records, trials: Sequence[str]) -> Opening | None:
    """What is to be logged before these trials see the test images.

    None where their predictions are on record already: nothing is opened then.
    """
    test = plan.dataset.test
    missing = [trial for trial in trials if trial not in records.test_predictions]
    if not missing:
        return None
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "study": plan.request.name,
        "images": len(test),
        "sha256": test.pixel_digest,
        "trials": missing,
    }


def open_test_set(
    plan: Plan, records: Records, opening: Opening, tell: Tell = lambda done, total: None
) -> None:
    """Let the trials of a logged opening predict the test images, into the records."""
    test, trials = plan.dataset.test, opening["trials"]
    records.test = Described(test.names, test.patients, test.labels)
    for done, trial in enumerate(trials):
        tell(done, len(trials))
        records.test_predictions[trial] = _predict(plan, records, trial)
    tell(len(trials), len(trials))


def opened_before(plan: Plan) -> list[Opening]:
    """When other studies of the results folder have opened a test set of the same images."""
    found = []
    for manifest in sorted(plan.request.results.glob(f"*/{MANIFEST}")):
        if manifest.parent.name == plan.request.name:
            continue
        try:
            openings = read_manifest(manifest.parent).get("test_set_opened", [])
        except ResultsError:  # another study's damaged manifest
            continue
        found += [o for o in openings if o["sha256"] == plan.dataset.test.pixel_digest]
    return found


def thresholds(plan: Plan, records: Records, trials: Sequence[str]) -> dict[str, float | None]:
    """Each trial's operating point, from its validation probabilities; None for many classes."""
    if len(plan.dataset.classes) > 2:
        return dict.fromkeys(trials)
    return {t: threshold_of(plan, records.predictions[t].astype(np.float64)) for t in trials}


def evaluate(
    plan: Plan, records: Records, trials: Sequence[str], chosen: dict[str, float | None]
) -> list[str]:
    """Put every metric of these trials, with its interval, into the records; what has none."""
    records.evaluations, undefined = [], {}
    validation = Described(records.images, records.patients, records.labels)
    for trial in trials:
        for split, described, found in (
            ("val", validation, records.predictions.get(trial)),
            ("test", records.test, records.test_predictions.get(trial)),
        ):
            if described is None or found is None:
                continue
            try:
                rows = estimates(plan, described, found, chosen[trial])
            except StatisticsError as error:  # as a test split without one of the classes
                undefined[split] = f"the {split} split is not evaluated: {error}"
                continue
            records.evaluations += [{"trial": trial, "split": split, **row} for row in rows]
            if split == "test":
                records.trials[trial].update(_test_columns(rows))
    return list(undefined.values())


def estimates(
    plan: Plan,
    described: Described,
    found: npt.NDArray[np.floating[Any]],
    threshold: float | None,
) -> list[Row]:
    """Every metric of a predictor on a split, as rows of the evaluations table.

    Args:
        plan: gives classes, prevalence and the seed of the bootstrap.
        described: the split.
        found: class probabilities, (n, classes).
        threshold: the predictor's operating point, where it has one.

    Raises:
        StatisticsError: a class without images, or one patient alone.
    """
    probabilities = found.astype(np.float64)  # rounded to float32, a row does not sum to 1
    found_estimates = evaluate_model(
        described.labels,
        probabilities / probabilities.sum(axis=1, keepdims=True),
        described.patients,
        classes=plan.dataset.classes,
        positive=plan.dataset.positive,
        threshold=threshold,
        prevalence=plan.settings.prevalence,
        patients_known=plan.dataset.patients_known,
        seed=plan.settings.seed,
    )
    return list(map(_row, found_estimates))


def _predict(plan: Plan, records: Records, trial: str) -> npt.NDArray[np.float32]:
    row = records.trials[trial]
    best, config, dataset = best_epoch(plan, row), config_of(row), plan.dataset
    if best is None:
        raise StudyError(
            f"no checkpoint of {trial} holds its best epoch",
            "see whether the disk is full; the tables are complete",
        )
    model = bundle.assemble(config, dataset, backbone_of(plan, config), best.weights)
    geometry = Geometry.of(config)
    transform = input_transform(config, dataset.pixel_format(geometry))
    return predict(model, transform, config, dataset.test.at(geometry)).astype(np.float32)


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
