"""A clean source for audits, into which tests plant defects, and access to the findings."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.datasets.source_factory import noise, save
from tune_bio.datasets.audit.findings import Audit, Finding
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.opening import open_arrays

SIDE = 24
SIZES = {"train": 120, "val": 80, "test": 80}
Parts = dict[str, tuple[Any, Any, Any]]


def clean() -> Parts:
    """Return arrays of noise in three splits: two balanced classes, one patient per image."""
    return {
        split: (
            noise(n, SIDE, SIDE, seed=k),
            np.array(["ill", "well"])[np.arange(n) % 2],
            np.array([f"{split}-patient{i}" for i in range(n)], dtype="U30"),
        )
        for k, (split, n) in enumerate(SIZES.items())
    }


def opened(parts: Parts) -> Dataset:
    return open_arrays(parts)


def folder_of(root: Path, parts: Parts, names: dict[str, list[str]] | None = None) -> Path:
    """Write the images as ROOT/SPLIT/CLASS/PATIENT.png, or under other file names."""
    for split, (images, labels, patients) in parts.items():
        for i, image in enumerate(images):
            name = names[split][i] if names else f"{patients[i]}.png"
            save(root / split / str(labels[i]) / name, image)
    return root


def smooth(n: int, side: int, seed: int) -> Any:
    """Return images of a few low frequencies, which survive JPEG compression like radiographs."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    images = np.zeros((n, side, side))
    for u in range(8):
        for v in range(8):
            strength = rng.normal(size=(n, 1, 1)) / (1 + u + v)
            images += strength * np.cos(np.pi * (u * y + v * x) + rng.uniform(0, 6, (n, 1, 1)))
    low, high = images.min(axis=(1, 2), keepdims=True), images.max(axis=(1, 2), keepdims=True)
    return np.round((images - low) / (high - low) * 255).astype(np.uint8)


def the_finding(audit: Audit, kind: str) -> Finding:
    """Return the finding of a kind, which must exist and have a one-line message with a remedy."""
    finding = audit.of(kind)
    assert finding is not None, [other.kind for other in audit.findings]
    assert "\n" not in finding.message
    assert finding.fault
    assert finding.remedy
    assert finding.message == f"{finding.fault}: {finding.remedy}"
    return finding


def affected(finding: Finding) -> list[set[tuple[str, str]]]:
    """Return the (name, split) of all images of each group."""
    return [{(image.name, image.split) for image in group} for group in finding.groups]
