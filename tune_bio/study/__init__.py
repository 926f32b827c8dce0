"""One study from beginning to end; `carry_out` reads downward through its parts."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from tune_bio import bundle, checkpoints, metrics
from tune_bio.analysis.figures import draw_all
from tune_bio.analysis.study_records import read_study
from tune_bio.analysis.tables import write_summary
from tune_bio.cluster import Node, available_nodes, connected
from tune_bio.config import TrialConfig
from tune_bio.errors import StudyError
from tune_bio.models.pretrained import load_backbone
from tune_bio.progress import ranked, reading, showing
from tune_bio.records import Records, Row, write_manifest
from tune_bio.reuse.cleaning import sweep
from tune_bio.reuse.features import Part
from tune_bio.reuse.prefixes import folder_of, numbered
from tune_bio.settings import SearchSettings
from tune_bio.space import SearchSpace
from tune_bio.study.frozen import share_frozen
from tune_bio.study.manifest import describe_earlier, describe_plan
from tune_bio.study.preflight import Plan, preflight
from tune_bio.study.request import Request, locked
from tune_bio.study.resume import refuse_other_study, restore
from tune_bio.study.telling import conclude, introduce, tell_features
from tune_bio.study.tuning import Interruption, search, share_plan
from tune_bio.training import Best

# The driver scores the exported model with other threads and batches than the trial did.
REPRODUCED_WITHIN = 1e-4
# And where the trial trained on features, they were computed in other batches, or rounded.
FEATURES_WITHIN = {"float32": 1e-3, "float16": 1e-2}


@dataclass(frozen=True)
class Outcome:
    """What a study came to: its folder, its trials' rows, and the signal that ended it, if any."""

    folder: Path
    trials: list[Row]
    signal: int | None

    @property
    def failed(self) -> int:
        """How many trials failed."""
        return sum(row["status"] == "failed" for row in self.trials)


def run_study(
    space: SearchSpace,
    settings: SearchSettings,
    request: Request,
    console: Console,
    *,
    address: str | None = None,
    dashboard: bool = False,
) -> Outcome:
    """Check a study, start or join Ray, run it.

    Raises:
        InputError: bad input; nothing was started.
        StudyError: the study ran and could not deliver.
    """
    # Without a cluster to ask, everything that can be refused is refused before Ray starts.
    nodes = available_nodes() if address is None else None
    plan = check(space, settings, request, nodes, console) if nodes else None
    with connected(address, dashboard=dashboard) as url:
        plan = plan or check(space, settings, request, available_nodes(), console)
        introduce(plan, url, console)
        return carry_out(plan, console)


def check(
    space: SearchSpace,
    settings: SearchSettings,
    request: Request,
    nodes: tuple[Node, ...],
    console: Console,
    *,
    download: bool = True,
) -> Plan:
    """`preflight`, with a progress bar while images are read; and whether it can be resumed."""
    with reading(console) as progress:
        plan = preflight(space, settings, request, nodes, download=download, progress=progress)
    if request.resume:
        refuse_other_study(plan)
        restore(plan, _records(plan))
    return plan


def carry_out(plan: Plan, console: Console) -> Outcome:
    """Run a study whose preflight has passed, on a Ray that is connected."""
    folder = plan.request.folder
    folder.mkdir(parents=True, exist_ok=plan.request.resume)
    with locked(folder):
        return _carry_out(plan, console)


def _carry_out(plan: Plan, console: Console) -> Outcome:
    folder, records = plan.request.folder, _records(plan)
    past = restore(plan, records) if plan.request.resume else []
    manifest = {**describe_plan(plan), **describe_earlier(plan)}
    write_manifest(folder, manifest)
    records.write()
    sweep(folder)
    shared, features, notes = share_frozen(share_plan(plan), plan, console)
    tell_features(features, notes, console)
    manifest |= {"features": features, "left_out": [*plan.left_out, *notes]}
    write_manifest(folder, manifest)
    with showing(
        console, records, plan.settings, plan.searched, plan.trials, quiet=plan.request.quiet
    ) as view:
        interruption = search(plan, shared, records, view, past)
    best = _export_best(plan, records)
    manifest |= {
        "seconds": time.monotonic() - records.began,
        "timeline": records.timeline,
        "interrupted": _was_interrupted(plan, records),
        "best_trial": best[1]["trial_id"] if best else None,
    }
    write_manifest(folder, manifest)
    _tell(folder)
    trials = list(records.trials.values())
    conclude(plan, trials, best, console)
    return Outcome(folder, trials, _signal(plan, records, interruption))


def _records(plan: Plan) -> Records:
    validation = plan.dataset.val
    return Records(
        plan.request.folder,
        plan.dataset.classes,
        validation.names,
        validation.patients,
        validation.labels,
    )


def _export_best(plan: Plan, records: Records) -> tuple[float, Row] | None:
    """Write `best/` from the best trial's checkpoint, and see that it scores what it scored."""
    for value, row in ranked(list(records.trials.values()), records, plan.settings):
        best = _best_epoch(plan, row)
        if best is not None:
            config = _config(row)
            _export(plan, records, row, config, best)
            _verify(plan, config, best, value)
            return value, row
    return None


def _best_epoch(plan: Plan, row: Row) -> Best | None:
    """The best epoch of a trial, from its checkpoints.

    None where the trial was interrupted before that epoch was saved; the next best is taken then.
    """
    folder = folder_of(plan.request.folder, row["trial_id"])
    for checkpoint in reversed(numbered(folder) if folder is not None else []):
        if int(checkpoint.name) <= row.get("epochs_run", 0):
            best = checkpoints.load_best(checkpoint)
            if best is not None and best.epoch == row["best_epoch"]:
                return best
    if row["status"] in ("interrupted", "failed"):
        return None
    raise StudyError(
        f"no checkpoint of {row['trial_id']} holds its best epoch, {row['best_epoch']}",
        "see whether the disk is full; the tables are complete",
    )


def _config(row: Row) -> TrialConfig:
    params = {
        key.removeprefix("params."): item for key, item in row.items() if key.startswith("params.")
    }
    return TrialConfig.of({**params, "seed": row["seed"]})


def _export(plan: Plan, records: Records, row: Row, config: TrialConfig, best: Best) -> None:
    backbone = None
    if config.weights != "none":
        file = plan.weights.found[config.model, config.weights]
        arrays = load_backbone(config.model, file)
        backbone = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    at_best = records.epochs[row["trial_id"]][row["best_epoch"]]
    about: dict[str, Any] = {
        "trial": row["trial_id"],
        "epoch": row["best_epoch"],
        "validation": {k: v for k, v in at_best.items() if k.startswith("val_")},
        "data": plan.dataset.source,
        "synthetic": plan.dataset.synthetic,
    }
    bundle.export(
        plan.request.folder / "best",
        config,
        plan.dataset,
        backbone=backbone,
        trained=best.weights,
        about=about,
    )


def _verify(plan: Plan, config: TrialConfig, best: Best, recorded: float) -> None:
    """See that the exported model gives on images what is on record.

    Where that came from features, the model's own scores take its place in `best/`.
    """
    validation, folder = plan.dataset.val, plan.request.folder / "best"
    model = bundle.load_model(folder)
    probabilities = model.predict_prepared(validation.at(model.transform.geometry))
    scores = metrics.evaluate(validation.labels, probabilities, plan.dataset.positive)
    again = scores[plan.settings.metric.removeprefix("val_")]
    on_features = Part.of(config) is not None
    within = FEATURES_WITHIN[plan.settings.feature_dtype] if on_features else REPRODUCED_WITHIN
    # Where two images change places AUROC jumps, however close their probabilities are.
    alike = np.abs(probabilities - best.probabilities).max() <= within
    if abs(again - recorded) > within and not alike:
        raise StudyError(
            f"the exported model scores {plan.settings.metric} {again:.6f}, and {recorded:.6f} is "
            "on record",
            "report this; the tables are complete, and best/ is not to be trusted",
        )
    if on_features:
        bundle.record_validation(folder, {f"val_{name}": v for name, v in scores.items()})


def _tell(folder: Path) -> None:
    study = read_study(folder)
    if not study.ranking.empty:
        draw_all(study, folder / "figures")
    write_summary(study, folder)


def _was_interrupted(plan: Plan, records: Records) -> bool:
    unfinished = any(row["status"] == "interrupted" for row in records.trials.values())
    return unfinished or len(records.trials) < plan.trials


def _signal(plan: Plan, records: Records, interruption: Interruption) -> int | None:
    """The signal that ended the search; one that Tune swallowed was Ctrl-C's."""
    if interruption.number is not None:
        return interruption.number
    if plan.settings.time_budget is None and _was_interrupted(plan, records):
        return 2
    return None
