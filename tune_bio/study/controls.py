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

BLIND = ("border", "metadata", "best_pixel")  # controls that see no anatomy


@dataclass(frozen=True)
class RunningShuffledControl:
    """A running training on labels that are shuffled between patients."""

    config: TrialConfig
    seed: int
    val: Images
    training: ShuffledTraining


@dataclass(frozen=True)
class ShuffledControl:
    """The result of trainings on shuffled labels: a p value for each, and a note on failure."""

    p: tuple[float, ...]
    note: str = ""

    @property
    def flag(self) -> Flag | None:
        """The flag of two trainings that are both above chance, or None."""
        return shuffled_above_chance(*self.p) if len(self.p) == 2 else None


def start_shuffled_control(
    plan: Plan, shared: SharedInputs, config: TrialConfig, seed: int
) -> RunningShuffledControl | ShuffledControl:
    """Start a training on shuffled labels; return a note if labels cannot be shuffled."""
    try:
        train, val = shuffled_labels(plan.dataset.train, plan.dataset.val, seed)
    except DataError as error:
        return ShuffledControl((), str(error))
    training = start_shuffled(shared, plan.allotment, config, train.labels, val.labels)
    return RunningShuffledControl(config, seed, val, training)


def finish_shuffled_control(
    plan: Plan, shared: SharedInputs, run: RunningShuffledControl | ShuffledControl
) -> ShuffledControl:
    """Wait for the control; if it appears above chance, a second one with a new shuffle decides."""
    p_values: list[float] = []
    while isinstance(run, RunningShuffledControl):
        try:
            probabilities = run.training.probabilities()
        except TrainingError as error:
            return ShuffledControl(
                tuple(p_values), f"the training on shuffled labels failed: {error}"
            )
        if not np.isfinite(probabilities).all():
            return ShuffledControl(tuple(p_values), "the training on shuffled labels diverged")
        p_values.append(_p_value(plan, run, probabilities))
        if len(p_values) == 2 or not needs_another_shuffle(p_values[0]):
            break
        run = start_shuffled_control(plan, shared, run.config, run.seed + 1)
    return ShuffledControl(tuple(p_values), run.note if isinstance(run, ShuffledControl) else "")


def fit_simple_predictors(plan: Plan, records: Records, config: TrialConfig) -> list[Control]:
    """Fit the simple predictors at a configuration's geometry; record their validation metrics."""
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
    """Record the test metrics of the simple predictors, if the test set is open."""
    if records.test is None:
        return
    for control in controls:
        probabilities = control.predict(plan.dataset.test)
        _evaluate(plan, records, control, "test", records.test, probabilities)


def raise_flags(
    plan: Plan,
    records: Records,
    controls: Sequence[Control],
    shuffled: ShuffledControl | None,
    best: Row | None,
) -> list[Flag]:
    """Return flags on results that are too good to be true or explained by something else."""
    flags: list[Flag | None] = [shuffled.flag if shuffled else None]
    if best is not None:
        flags += [_near_model(records, c, best) for c in controls if c.name in BLIND]
        flags.append(_one_class(plan, records, best))
        flags.append(_above_train(plan, records, best))
    for row in records.trials.values():
        if row.get("test_auroc") is not None:
            scores = row["test_accuracy"], row["test_auroc"]
            flags.append(perfect_test(row["trial_id"], *scores, len(plan.dataset.test)))
    predictions = records.prediction_table().to_pandas()
    trials = pd.DataFrame(list(records.trials.values()))
    flags += identical_predictions(predictions, trials)
    return [flag for flag in flags if flag is not None]


def controls_entry(controls: Sequence[Control], shuffled: ShuffledControl | None) -> dict[str, Any]:
    """Return the manifest's entry of the controls."""
    entry: dict[str, Any] = {
        "predictors": [
            {"name": c.name, "looks_at": c.looks_at, "validation": c.metrics} for c in controls
        ]
    }
    if shuffled is not None:
        entry["shuffled_labels"] = {"p": list(shuffled.p), "note": shuffled.note}
    return entry


def _p_value(plan: Plan, run: RunningShuffledControl, probabilities: Probabilities) -> float:
    score = partial(auroc, positive=plan.dataset.positive)
    return permutation_p(run.val.labels, probabilities, run.val.patients, score, run.seed)


def _evaluate(
    plan: Plan,
    records: Records,
    control: Control,
    split: str,
    images: SplitImages,
    probabilities: Probabilities,
) -> None:
    trial = f"control:{control.name}"
    # Undefined on a split of one patient or without one of the classes; trials report this.
    with suppress(StatisticsError):
        for row in estimate_metrics(plan, images, probabilities, None):
            records.evaluations.append({"trial": trial, "split": split, **row})


def _near_model(records: Records, control: Control, best: Row) -> Flag | None:
    """Flag a control that is as good as the model, within the control's own interval."""
    trial = f"control:{control.name}"
    key = (trial, "val", "auroc")
    for row in records.evaluations:
        if (row["trial"], row["split"], row["metric"]) == key:
            value, low, high = row["value"], row["low"], row["high"]
            # With few patients per class there may be no interval; the fixed tolerance applies.
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
