"""The test set: sealed until everything is chosen, then opened once, and logged.

Winner, exported replicate and threshold are fixed before; a test score cannot change them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_bio.console.progress import ReportProgress
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.errors import ResultsError, StudyError
from tune_bio.inference import exported_model
from tune_bio.models.build import input_transform
from tune_bio.records.manifest_file import MANIFEST, read_manifest
from tune_bio.records.predictions import SplitImages
from tune_bio.records.tables import Records, config_of_row
from tune_bio.study.export import backbone_of, best_epoch
from tune_bio.study.planning.plan import Plan
from tune_bio.training.fit import predict

TestSetOpening = dict[str, Any]


def plan_opening(plan: Plan, records: Records, trials: Sequence[str]) -> TestSetOpening | None:
    """Return the entry to log before these trials see the test images.

    None if their predictions are on record already: nothing is opened then.
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
    plan: Plan,
    records: Records,
    opening: TestSetOpening,
    report: ReportProgress = lambda done, total: None,
) -> None:
    """Record the predictions of the opening's trials on the test images; log it before."""
    test, trials = plan.dataset.test, opening["trials"]
    records.test = SplitImages(test.names, test.patients, test.labels)
    for done, trial in enumerate(trials):
        report(done, len(trials))
        records.test_predictions[trial] = _predict(plan, records, trial)
    report(len(trials), len(trials))


def earlier_openings(plan: Plan) -> list[TestSetOpening]:
    """Return the openings of the same test images by other studies in the results folder."""
    earlier = []
    for manifest in sorted(plan.request.results.glob(f"*/{MANIFEST}")):
        if manifest.parent.name == plan.request.name:
            continue
        try:
            openings = read_manifest(manifest.parent).get("test_set_opened", [])
        except ResultsError:  # another study's damaged manifest
            continue
        earlier += [
            opening for opening in openings if opening["sha256"] == plan.dataset.test.pixel_digest
        ]
    return earlier


def _predict(plan: Plan, records: Records, trial: str) -> npt.NDArray[np.float32]:
    row = records.trials[trial]
    best, config, dataset = best_epoch(plan, row), config_of_row(row), plan.dataset
    if best is None:
        raise StudyError(
            f"no checkpoint of {trial} has its best epoch",
            "check whether the disk is full; the tables are complete",
        )
    model = exported_model.assemble(config, dataset, backbone_of(plan, config), best.weights)
    geometry = Geometry.of(config)
    transform = input_transform(config, dataset.pixel_format(geometry))
    return predict(model, transform, config, dataset.test.at(geometry)).astype(np.float32)
