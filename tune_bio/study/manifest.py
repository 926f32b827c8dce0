"""experiment.json: what was run, on what, with what, and what was left out."""

import platform
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import psutil

from tune_bio.common.hashing import array_sha256
from tune_bio.datasets.images import Dataset, Images
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.records.manifest_file import read_manifest
from tune_bio.study.planning.plan import Plan, space_summary

EXAMPLES = 20  # images or patients that the manifest names of each finding
PACKAGES = (
    "tune_bio", "ray", "torch", "torchvision", "timm", "optuna", "scikit-learn", "numpy",
    "pandas", "pyarrow",
)  # fmt: skip


def plan_entry(plan: Plan) -> dict[str, Any]:
    """The part of the manifest that is known before the first trial."""
    return {
        "name": plan.request.name,
        "question": plan.space.question,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "settings": plan.settings.model_dump(),
        "space": {
            "file": str(plan.space.path),
            "sha256": plan.space.sha256,
            "pinned": plan.space.pins,
            "hyperparameters": space_summary(plan),
            "distributions": {
                name: [asdict(distribution) for distribution in found]
                for name, found in plan.branches.distributions.items()
            },
            "listed": len(plan.listed) if plan.listed is not None else None,
        },
        "data": dataset_entry(plan.dataset, plan.geometries),
        "audit": plan.audit.to_json(most=EXAMPLES),
        "weights": {
            f"{model} {weights}": {
                "file": file.path.name,
                "origin": file.origin,
                "sha256": file.sha256,
            }
            for (model, weights), file in plan.weights.found.items()
        },
        "left_out": list(plan.left_out),
        "not_run": [asdict(one) for one in plan.not_run],
        "resources": {
            "cpus_per_trial": plan.allotment.cpus,
            "gpus_per_trial": plan.allotment.gpus,
            "concurrent": plan.allotment.concurrent,
        },
        "seeds": [plan.settings.seed],
        "ranking": f"{plan.settings.metric} at each trial's best epoch; the scheduler compares "
        "the value at the rung's own epoch",
        "test_set_opened": [],
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "hardware": {
            "platform": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cpus": psutil.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
        },
    }


def earlier_entry(plan: Plan) -> dict[str, Any]:
    """What stays of the manifest of a study that is resumed, and when it was."""
    if not plan.request.resume:
        return {}
    before = read_manifest(plan.request.folder)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "started": before["started"],
        "resumed": [*before.get("resumed", []), now],
        "test_set_opened": before["test_set_opened"],
    }


def dataset_entry(dataset: Dataset, geometries: Iterable[Geometry]) -> dict[str, Any]:
    """Counts and fingerprints of the splits; of the test split, nothing but those."""
    return {
        "source": dataset.source,
        "synthetic": dataset.synthetic,
        "classes": list(dataset.classes),
        "positive_class": dataset.classes[dataset.positive],
        "pixels": _describe_pixels(dataset, geometries),
        "split": dataset.split,
        "patients_known": dataset.patients_known,
        "patients_on_two_sides": dataset.patients_on_two_sides,
        "notes": list(dataset.notes),
        "fingerprint": array_sha256(
            *(np.array([split.fingerprint]) for split in dataset.splits.values())
        ),
        "splits": {name: _describe_split(dataset, split) for name, split in dataset.splits.items()},
    }


def _describe_pixels(dataset: Dataset, geometries: Iterable[Geometry]) -> dict[str, Any]:
    """The originals' shape, and what is black and white at each geometry."""
    formats = {geometry: dataset.pixel_format(geometry) for geometry in geometries}
    return {
        "shape": list(dataset.shape) if dataset.shape is not None else "mixed",
        "channels": dataset.channels,
        "dtype": dataset.dtype.name,
        "range": [
            {**asdict(geometry), "black": found.low, "white": found.high}
            for geometry, found in formats.items()
        ],
    }


def _describe_split(dataset: Dataset, split: Images) -> dict[str, Any]:
    counts = np.bincount(split.labels, minlength=len(dataset.classes))
    return {
        "images": len(split),
        "patients": len(np.unique(split.patients)),
        "classes": {name: int(n) for name, n in zip(dataset.classes, counts, strict=True)},
        "sha256": split.fingerprint,
    }
