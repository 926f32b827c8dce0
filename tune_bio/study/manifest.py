"""The content of experiment.json: the plan, data and software of a study, and its results."""

import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tune_bio.common.hashing import array_sha256
from tune_bio.datasets.images import Dataset, Images
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.records.manifest_file import read_manifest, write_manifest
from tune_bio.study.planning.plan import Plan, space_summary

EXAMPLES = 20  # images or patients that the manifest names for each finding
PACKAGES = (
    "tune_bio", "ray", "torch", "torchvision", "timm", "optuna", "scikit-learn", "numpy",
    "pandas", "pyarrow",
)  # fmt: skip


class StudyManifest:
    """The manifest of a running study, written whole after each step that adds an entry."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: dict[str, Any] = {"left_out": []}

    def add(self, entry: Mapping[str, Any], left_out: Sequence[str] = ()) -> None:
        """Add the entry of a step, and notes on what it left out; write the file.

        Raises:
            OSError: the file cannot be written.
        """
        notes = [*self._entries["left_out"], *left_out]
        self._entries = {**self._entries, **entry, "left_out": notes}
        write_manifest(self._folder, self._entries)

    def __getitem__(self, name: str) -> Any:
        return self._entries[name]


def plan_entry(plan: Plan) -> dict[str, Any]:
    """Return the entry that is known before the first trial."""
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
                name: [asdict(distribution) for distribution in distributions]
                for name, distributions in plan.branches.distributions.items()
            },
            "listed": len(plan.listed) if plan.listed is not None else None,
        },
        "data": dataset_entry(plan.dataset, plan.geometries),
        "audit": plan.audit.to_json(max_groups=EXAMPLES),
        "weights": {
            f"{model} {weights}": {
                "file": file.path.name,
                "origin": file.origin,
                "sha256": file.sha256,
            }
            for (model, weights), file in plan.weights.files.items()
        },
        "not_run": [asdict(configuration) for configuration in plan.not_run],
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
    """Return the entry that a resumed study keeps; an empty one for a new study."""
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
    """Return counts and fingerprints of the splits; nothing else is read from the test split."""
    return {
        "source": dataset.source,
        "synthetic": dataset.synthetic,
        "classes": list(dataset.classes),
        "positive_class": dataset.classes[dataset.positive],
        "pixels": _pixels_entry(dataset, geometries),
        "split": dataset.split,
        "patients_known": dataset.patients_known,
        "patients_on_two_sides": dataset.patients_on_two_sides,
        "notes": list(dataset.notes),
        "fingerprint": array_sha256(
            *(np.array([split.fingerprint]) for split in dataset.splits.values())
        ),
        "splits": {name: _split_entry(dataset, split) for name, split in dataset.splits.items()},
    }


def _pixels_entry(dataset: Dataset, geometries: Iterable[Geometry]) -> dict[str, Any]:
    """Return the originals' shape, and the values of black and white at each geometry."""
    formats = {geometry: dataset.pixel_format(geometry) for geometry in geometries}
    return {
        "shape": list(dataset.shape) if dataset.shape is not None else "mixed",
        "channels": dataset.channels,
        "dtype": dataset.dtype.name,
        "range": [
            {**asdict(geometry), "black": format.low, "white": format.high}
            for geometry, format in formats.items()
        ],
    }


def _split_entry(dataset: Dataset, split: Images) -> dict[str, Any]:
    counts = np.bincount(split.labels, minlength=len(dataset.classes))
    return {
        "images": len(split),
        "patients": len(np.unique(split.patients)),
        "classes": {name: int(n) for name, n in zip(dataset.classes, counts, strict=True)},
        "sha256": split.fingerprint,
    }
