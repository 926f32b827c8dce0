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
from tune_bio.settings import SearchSettings
from tune_bio.space import SearchSpace
from tune_bio.study.manifest import describe_plan
from tune_bio.study.preflight import Plan, preflight
from tune_bio.study.request import Request
from tune_bio.study.telling import conclude, introduce
from tune_bio.study.tuning import CHECKPOINTS, Interruption, search
from tune_bio.training import Best

# The driver scores the exported model with other threads and batches than the trial did.
REPRODUCED_WITHIN = 1e-4


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
    """`preflight`, with a progress bar while images are read."""
    with reading(console) as progress:
        return preflight(space, settings, request, nodes, download=download, progress=progress)


def carry_out(plan: Plan, console: Console) -> Outcome:
    """Run a study whose preflight has passed, on a Ray that is connected."""
    folder = plan.request.folder
    folder.mkdir(parents=True)
    began, manifest = time.monotonic(), describe_plan(plan)
    records = _records(plan)
    write_manifest(folder, manifest)
    records.write()
    with showing(
        console, records, plan.settings, plan.searched, plan.trials, quiet=plan.request.quiet
    ) as view:
        interruption = search(plan, records, view)
    best = _export_best(plan, records)
    manifest |= {
        "seconds": time.monotonic() - began,
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
            _export(plan, records, row, best)
            _verify(plan, plan.request.folder / "best", value)
            return value, row
    return None


def _best_epoch(plan: Plan, row: Row) -> Best | None:
    """The best epoch of a trial, from its checkpoint.

    None where the trial was interrupted before that epoch was saved; the next best is taken then.
    """
    folder = plan.request.folder / CHECKPOINTS / row["trial_id"]
    best = checkpoints.load_best(folder) if checkpoints.exists(folder) else None
    if best is not None and best.epoch == row["best_epoch"]:
        return best
    if row["status"] in ("interrupted", "failed"):
        return None
    raise StudyError(
        f"the checkpoint of {row['trial_id']} is not of its best epoch, {row['best_epoch']}",
        "see whether the disk is full; the tables are complete",
    )


def _export(plan: Plan, records: Records, row: Row, best: Best) -> None:
    params = {
        key.removeprefix("params."): item for key, item in row.items() if key.startswith("params.")
    }
    config = TrialConfig.of({**params, "seed": row["seed"]})
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


def _verify(plan: Plan, folder: Path, recorded: float) -> None:
    validation = plan.dataset.val
    model = bundle.load_model(folder)
    probabilities = model.predict_prepared(validation.at(model.transform.geometry))
    scores = metrics.evaluate(validation.labels, probabilities, plan.dataset.positive)
    again = scores[plan.settings.metric.removeprefix("val_")]
    if abs(again - recorded) > REPRODUCED_WITHIN:
        raise StudyError(
            f"the exported model scores {plan.settings.metric} {again:.6f}, and {recorded:.6f} is "
            "on record",
            "report this; the tables are complete, and best/ is not to be trusted",
        )


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
