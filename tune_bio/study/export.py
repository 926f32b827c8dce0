"""Export of the best trial's model to `best/`, checked against its record."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tune_bio.analysis.statistics.operating_point import choose_threshold
from tune_bio.errors import ResultsError, StudyError
from tune_bio.inference import exported_model
from tune_bio.models.weights.pretrained import as_tensors, load_backbone
from tune_bio.records.ranking import rank
from tune_bio.records.schema import Row
from tune_bio.records.tables import Records, config_of_row
from tune_bio.reuse import checkpoints
from tune_bio.reuse.frozen_features import FrozenPart
from tune_bio.reuse.prefixes import folders_of, numbered_checkpoints
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study.planning.plan import Plan
from tune_bio.training import metrics
from tune_bio.training.state import Best, Tensors

# The driver scores the exported model with other threads and batches than the trial did.
REPRODUCED_WITHIN = 1e-4
# For a trial on features, which were computed in other batches, or rounded.
FEATURES_WITHIN = {"float32": 1e-3, "float16": 1e-2}


@dataclass(frozen=True)
class ExportedTrial:
    """The trial in `best/`: its metric, its row and, for two classes, its threshold."""

    value: float
    row: Row
    threshold: float | None


def export_best(plan: Plan, records: Records, winner: str | None = None) -> ExportedTrial | None:
    """Write `best/` from a trial's checkpoint, and verify that the model reproduces its score.

    Without a confirmed `winner`, the search's best trial is exported; None if there is no model.
    """
    rows = [row for row in records.trials.values() if winner in (None, row["trial_id"])]
    for value, row in rank(rows, records, plan.settings):
        best = best_epoch(plan, row) if winner or row["replicate"] == 0 else None
        if best is not None:
            config = config_of_row(row)
            _export(plan, records, row, config, best)
            return ExportedTrial(value, row, _verify(plan, config, best, value))
    return None


def best_epoch(plan: Plan, row: Row) -> Best | None:
    """Return the best epoch of a trial from its checkpoints.

    None if the trial was interrupted or failed before that epoch was saved.

    Raises:
        StudyError: any other trial has no checkpoint of its best epoch.
    """
    folders = folders_of(plan.request.folder, row["trial_id"])
    for checkpoint in (
        path for folder in folders for path in reversed(numbered_checkpoints(folder))
    ):
        if int(checkpoint.name) > row.get("epochs_run", 0):
            continue
        try:
            best = checkpoints.load_best(checkpoint)
        except ResultsError:  # damaged; an earlier checkpoint may have the same epoch
            continue
        if best is not None and best.epoch == row["best_epoch"]:
            return best
    if row["status"] in ("interrupted", "failed"):
        return None
    raise StudyError(
        f"no checkpoint of {row['trial_id']} has its best epoch, {row['best_epoch']}",
        "check whether the disk is full; the tables are complete",
    )


def _export(plan: Plan, records: Records, row: Row, config: TrialConfig, best: Best) -> None:
    at_best = records.epochs[row["trial_id"]][row["best_epoch"]]
    about: dict[str, Any] = {
        "trial": row["trial_id"],
        "epoch": row["best_epoch"],
        "validation": {k: v for k, v in at_best.items() if k.startswith("val_")},
        "data": plan.dataset.source,
        "synthetic": plan.dataset.synthetic,
    }
    exported_model.export(
        plan.request.folder / "best",
        config,
        plan.dataset,
        backbone=backbone_of(plan, config),
        trained=best.weights,
        about=about,
    )


def backbone_of(plan: Plan, config: TrialConfig) -> Tensors | None:
    """Return the pretrained backbone that a configuration starts from, or None."""
    if config.weights == "none":
        return None
    file = plan.weights.files[config.model, config.weights]
    return as_tensors(load_backbone(config.model, file))


def _verify(plan: Plan, config: TrialConfig, best: Best, recorded: float) -> float | None:
    """Verify that the exported model reproduces the recorded score on images; return its threshold.

    If the trial trained on features, `best/` gets the model's own scores on images.

    Raises:
        StudyError: the model does not reproduce the score.
    """
    validation, folder = plan.dataset.val, plan.request.folder / "best"
    model = exported_model.load_model(folder)
    probabilities = model.predict_prepared(validation.at(model.transform.geometry))
    scores = metrics.compute_metrics(validation.labels, probabilities, plan.dataset.positive)
    reproduced = scores[plan.settings.metric.removeprefix("val_")]
    on_features = FrozenPart.of(config) is not None
    tolerance = FEATURES_WITHIN[plan.settings.feature_dtype] if on_features else REPRODUCED_WITHIN
    # If two images swap ranks, AUROC jumps although their probabilities are close.
    is_close = np.abs(probabilities - best.probabilities).max() <= tolerance
    if abs(reproduced - recorded) > tolerance and not is_close:
        raise StudyError(
            f"the exported model scores {plan.settings.metric} {reproduced:.6f}, and "
            f"{recorded:.6f} is on record",
            "report this; the tables are complete, but do not use best/",
        )
    if on_features:
        exported_model.record(folder, validation={f"val_{name}": v for name, v in scores.items()})
    if len(plan.dataset.classes) > 2:
        return None
    threshold = threshold_of(plan, probabilities)
    exported_model.record(folder, threshold=threshold)
    return threshold


def threshold_of(plan: Plan, probabilities: metrics.Probabilities) -> float:
    """Return the operating point of a two-class model, from its validation probabilities."""
    dataset, sensitivity = plan.dataset, plan.settings.sensitivity
    return choose_threshold(dataset.val.labels, probabilities, dataset.positive, sensitivity)
