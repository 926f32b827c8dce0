"""Resuming a study: its records are read, and passed to a new search.

Ray's own state is never restored.
"""

from pathlib import Path
from typing import Any

from tune_bio.errors import ConfigError, DataError, ResultsError, SpaceError
from tune_bio.records.manifest_file import MANIFEST, read_manifest
from tune_bio.records.recorded_trial import RecordedTrial
from tune_bio.records.schema import Row
from tune_bio.records.tables import Records, config_of_row
from tune_bio.records.trial_names import TrialName
from tune_bio.reuse.prefixes import prefix_identity
from tune_bio.space.search_space import UnavailableBranch
from tune_bio.space.trial_config import METRIC_MODES, WORST, Params, TrialConfig
from tune_bio.space.value_sources import RecordedSource
from tune_bio.study.manifest import dataset_entry
from tune_bio.study.planning.plan import Plan

# Settings that may change when a study goes on; the two lengths may only grow.
FREE = (
    "time_budget", "max_concurrent", "gpus_per_trial", "stall_timeout", "checkpoint_gib",
    "num_trials", "max_epochs", "data", "finalists", "replicates", "resplit", "ablate",
    "controls", "prevalence",
)  # fmt: skip

# Entries of the manifest that a study needs to go on.
_NEEDED = {
    "settings.num_trials": int, "settings.max_epochs": int, "space.sha256": str,
    "space.pinned": dict, "data.fingerprint": str, "started": str, "test_set_opened": list,
}  # fmt: skip


def empty_records(plan: Plan) -> Records:
    """Return the study's records without any row."""
    validation = plan.dataset.val
    return Records(
        plan.request.folder,
        plan.dataset.classes,
        validation.names,
        validation.patients,
        validation.labels,
    )


def refuse_other_study(plan: Plan) -> None:
    """Raise InputError if the study to resume is not the plan's."""
    manifest = _manifest_of(plan.request.folder)
    before, now = manifest["settings"], plan.settings.model_dump()
    for name, value in now.items():
        if name not in FREE and before.get(name, value) != value:
            flag = "--" + name.replace("_", "-")
            same = f"leave {flag} out" if before[name] is None else f"give {flag} {before[name]}"
            raise ConfigError(
                f"the study began with {name}={before[name]} and cannot go on with {value}",
                f"{same}, or begin another study: it reuses equal trainings",
            )
    for name in ("num_trials", "max_epochs"):
        if name == "num_trials" and plan.listed is not None:
            continue  # a list has its own length
        if now[name] < before[name]:
            raise ConfigError(
                f"the study began with {name}={before[name]} and cannot go on with {now[name]}",
                "it can be extended but not shortened",
            )
    space = manifest["space"]
    if space["sha256"] != plan.space.sha256 or space["pinned"] != plan.space.pins:
        raise SpaceError(
            f"{plan.space.path.name}, or what --set pins, is not what the study began with",
            "undo the change, or begin another study with --name: it reuses equal trainings",
        )
    data = dataset_entry(plan.dataset, plan.geometries)
    if data["fingerprint"] != manifest["data"]["fingerprint"]:
        raise DataError(
            "the images, labels or splits are not those that the study began with",
            "give the same data, or begin another study with --name",
        )


def _manifest_of(folder: Path) -> dict[str, Any]:
    manifest = read_manifest(folder)
    for name, kind in _NEEDED.items():
        value: Any = manifest
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, kind):
            raise ResultsError(
                f"{folder / MANIFEST} is not as the study wrote it ({name})",
                "put the file back, or begin another study with --name",
            )
    return manifest


def restore_records(plan: Plan, records: Records) -> list[RecordedTrial]:
    """Read the tables into `records`; return the recorded trials of the search, in order.

    Trials that did not end become `interrupted`, and so do those that the plan makes longer.

    Raises:
        InputError: the plan cannot continue what is on record.
    """
    records.restore()
    past = []
    for trial, row in records.trials.items():
        # A failed replicate is tried again: without it its configuration is never confirmed.
        if not TrialName.parse(trial).is_searched and row["status"] in ("running", "failed"):
            row["status"] = "interrupted"
    for trial in sorted(t for t in records.trials if TrialName.parse(t).is_searched):
        row = records.trials[trial]
        config = config_of_row(row)
        if row["status"] == "running" or _grows(plan, row, config):
            row["status"] = "interrupted"
        past.append(_recorded_trial(plan, records, row, config))
    return past


def _grows(plan: Plan, row: Row, recorded: TrialConfig) -> bool:
    """Return True if a completed trial has more epochs in this plan."""
    planned = _planned(plan, row["trial_id"], recorded)
    if row["status"] != "completed" or planned.epochs <= recorded.epochs:
        return False
    if prefix_identity(recorded) != prefix_identity(planned):
        raise ConfigError(
            f"{row['trial_id']} was trained over {recorded.epochs} epochs (lr_schedule="
            f"{recorded.lr_schedule}, freeze={recorded.freeze}), and a training over "
            f"{planned.epochs} epochs begins differently",
            f"give --max-epochs {recorded.epochs}, or begin another study",
        )
    return True


def _planned(plan: Plan, trial: str, recorded: TrialConfig) -> TrialConfig:
    """Return a recorded trial's configuration as this plan would complete it."""
    if plan.listed is None:
        try:
            return plan.config(plan.space.run(RecordedSource(recorded.all_params(), {})))
        except UnavailableBranch:  # its weights are unavailable now: it stays unchanged
            return recorded
    position = TrialName.parse(trial).position
    if position >= len(plan.listed):
        raise ResultsError(
            f"{len(plan.listed)} configurations are listed, and more are on record",
            "give the list that the study began with, or begin another study",
        )
    planned = plan.config(plan.listed[position])
    if _without_length(planned) != _without_length(recorded):
        raise ResultsError(
            f"configuration {position + 1} of the list is not the one on record",
            "give the list that the study began with, or begin another study",
        )
    return planned


def _without_length(config: TrialConfig) -> Params:
    params = config.all_params()
    return {name: value for name, value in params.items() if name not in ("epochs", "lp_epochs")}


def _recorded_trial(plan: Plan, records: Records, row: Row, config: TrialConfig) -> RecordedTrial:
    metric = plan.settings.metric
    worst = WORST[METRIC_MODES[metric]]
    curve = records.curve(row["trial_id"])
    steps = tuple((epoch["epoch"], epoch.get(metric, worst)) for epoch in curve)
    at_best = records.epochs.get(row["trial_id"], {}).get(row.get("best_epoch", 0), {})
    return RecordedTrial(row["trial_id"], config, row["status"], steps, at_best.get(metric, worst))
