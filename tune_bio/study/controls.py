"""The controls of a study: simple predictors, a training on shuffled labels, and flags."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from tune_bio.controls import Control, Flag, permutation_p, run_controls, shuffled_labels
from tune_bio.controls.flags import (
    control_near_model,
    identical_predictions,
    needs_another_shuffle,
    one_class,
    perfect_test,
    shuffled_above_chance,
    validation_above_train,
)
from tune_bio.datasets.images import Images
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.errors import DataError, StatisticsError
from tune_bio.ray_tune.object_store import SharedInputs
from tune_bio.ray_tune.shuffled_training import ShuffledTraining, TrainingError, start_shuffled
from tune_bio.records.predictions import SplitImages
from tune_bio.records.schema import Row
from tune_bio.records.tables import Records
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study.evaluation import estimate_metrics
from tune_bio.study.planning.plan import Plan
from tune_bio.training.metrics import Probabilities, auroc

BLIND = ("border", "metadata", "best_pixel")  # they see no anatomy


@dataclass(frozen=True)
class RunningShuffledControl:
    """A training on labels shuffled between patients, under way."""

    config: TrialConfig
    seed: int
    val: Images
    training: ShuffledTraining


@dataclass(frozen=True)
class ShuffledControl:
    """What trainings on shuffled labels came to: a p value each, or why there is none."""

    p: tuple[float, ...]
    note: str = ""

    @property
    def flag(self) -> Flag | None:
        """That they are above chance, twice."""
        return shuffled_above_chance(*self.p) if len(self.p) == 2 else None


def start_shuffled_control(
    plan: Plan, shared: SharedInputs, config: TrialConfig, seed: int
) -> RunningShuffledControl | ShuffledControl:
    """Train a configuration on shuffled labels beside what else runs; or say why that cannot be."""
    try:
        train, val = shuffled_labels(plan.dataset.train, plan.dataset.val, seed)
    except DataError as error:
        return ShuffledControl((), str(error))
    training = start_shuffled(shared, plan.allotment, config, train.labels, val.labels)
    return RunningShuffledControl(config, seed, val, training)


def finish_shuffled_control(
    plan: Plan, shared: SharedInputs, run: RunningShuffledControl | ShuffledControl
) -> ShuffledControl:
    """Wait for it; where it looks above chance, a second one with a fresh shuffle decides."""
    found: list[float] = []
    while isinstance(run, RunningShuffledControl):
        try:
            probabilities = run.training.probabilities()
        except TrainingError as error:
            return ShuffledControl(tuple(found), f"the training on shuffled labels failed: {error}")
        if not np.isfinite(probabilities).all():
            return ShuffledControl(tuple(found), "the training on shuffled labels diverged")
        found.append(_p_value(plan, run, probabilities))
        if len(found) == 2 or not needs_another_shuffle(found[0]):
            break
        run = start_shuffled_control(plan, shared, run.config, run.seed + 1)
    return ShuffledControl(tuple(found), run.note if isinstance(run, ShuffledControl) else "")


def fit_simple_predictors(plan: Plan, records: Records, config: TrialConfig) -> list[Control]:
    """Fit them at the geometry of a configuration; their validation metrics go into the records."""
    dataset = plan.dataset
    controls = run_controls(
        dataset.train,
        dataset.val,
        classes=dataset.classes,
        positive=dataset.positive,
        seed=plan.settings.seed,
        geometry=Geometry.of(config),
    )
    validation = SplitImages(records.images, records.patients, records.labels)
    for control in controls:
        _evaluate(plan, records, control, "val", validation, control.probabilities)
    return controls


def score_controls_on_test(plan: Plan, records: Records, controls: Sequence[Control]) -> None:
    """Their test metrics, once the test set is open."""
    if records.test is None:
        return
    for control in controls:
        found = control.predict(plan.dataset.test)
        _evaluate(plan, records, control, "test", records.test, found)


def raise_flags(
    plan: Plan,
    records: Records,
    controls: Sequence[Control],
    shuffled: ShuffledControl | None,
    best: Row | None,
) -> list[Flag]:
    """What is too good to be true in this study, or explained by something else."""
    found: list[Flag | None] = [shuffled.flag if shuffled else None]
    if best is not None:
        found += [_near_model(records, c, best) for c in controls if c.name in BLIND]
        found.append(_one_class(plan, records, best))
        found.append(_above_train(plan, records, best))
    for row in records.trials.values():
        if row.get("test_auroc") is not None:
            scores = row["test_accuracy"], row["test_auroc"]
            found.append(perfect_test(row["trial_id"], *scores, len(plan.dataset.test)))
    predictions = records.prediction_table().to_pandas()
    trials = pd.DataFrame(list(records.trials.values()))
    found += identical_predictions(predictions, trials)
    return [flag for flag in found if flag is not None]


def controls_entry(controls: Sequence[Control], shuffled: ShuffledControl | None) -> dict[str, Any]:
    """The manifest's entry."""
    told: dict[str, Any] = {
        "predictors": [
            {"name": c.name, "looks_at": c.looks_at, "validation": c.metrics} for c in controls
        ]
    }
    if shuffled is not None:
        told["shuffled_labels"] = {"p": list(shuffled.p), "note": shuffled.note}
    return told


def _p_value(plan: Plan, run: RunningShuffledControl, probabilities: Probabilities) -> float:
    score = partial(auroc, positive=plan.dataset.positive)
    return permutation_p(run.val.labels, probabilities, run.val.patients, score, run.seed)


def _evaluate(
    plan: Plan,
    records: Records,
    control: Control,
    split: str,
    described: SplitImages,
    probabilities: Probabilities,
) -> None:
    trial = f"control:{control.name}"
    # A split of one patient, or without one of the classes: the study's own trials tell so.
    with suppress(StatisticsError):
        for row in estimate_metrics(plan, described, probabilities, None):
            records.evaluations.append({"trial": trial, "split": split, **row})


def _near_model(records: Records, control: Control, best: Row) -> Flag | None:
    """Whether a control, within its own interval on these patients, does as well as the model."""
    trial = f"control:{control.name}"
    wanted = (trial, "val", "auroc")
    for row in records.evaluations:
        if (row["trial"], row["split"], row["metric"]) == wanted:
            value, low, high = row["value"], row["low"], row["high"]
            # Of few patients a class there may be no interval; then two points are near.
            margin = 0.0 if high is None else high - value
            model = best["best_val_auroc"]
            return control_near_model(control.name, value, model, low=low, noise_floor=margin)
    return None


def _one_class(plan: Plan, records: Records, best: Row) -> Flag | None:
    probabilities = records.predictions[best["trial_id"]].astype(np.float64)
    return one_class(best["trial_id"], probabilities, plan.dataset.classes)


def _above_train(plan: Plan, records: Records, best: Row) -> Flag | None:
    if best.get("generalization_gap") is None:
        return None
    at_best = records.epochs[best["trial_id"]][best["best_epoch"]]["val_accuracy"]
    patients = len(np.unique(plan.dataset.val.patients))
    train = at_best + best["generalization_gap"]
    return validation_above_train(best["trial_id"], train, at_best, patients)
