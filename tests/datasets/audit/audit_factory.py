"""Sources in which something is planted for an audit to find, and one in which nothing is."""

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
    """Arrays of noise in three splits: two classes in balance, a patient each image."""
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
    """The same as files, ROOT/SPLIT/CLASS/PATIENT.png, or under other names."""
    for split, (images, labels, patients) in parts.items():
        for i, image in enumerate(images):
            name = names[split][i] if names else f"{patients[i]}.png"
            save(root / split / str(labels[i]) / name, image)
    return root


def smooth(n: int, side: int, seed: int) -> Any:
    """Images of a few low frequencies, which survive a JPEG as radiographs do."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    images = np.zeros((n, side, side))
    for u in range(8):
        for v in range(8):
            strength = rng.normal(size=(n, 1, 1)) / (1 + u + v)
            images += strength * np.cos(np.pi * (u * y + v * x) + rng.uniform(0, 6, (n, 1, 1)))
    low, high = images.min(axis=(1, 2), keepdims=True), images.max(axis=(1, 2), keepdims=True)
    return np.round((images - low) / (high - low) * 255).astype(np.uint8)


def the(audit: Audit, kind: str) -> Finding:
    """The finding of a kind, which must be there, told in one line with its remedy."""
    found = audit.of(kind)
    assert found is not None, [each.kind for each in audit.findings]
    assert "\n" not in found.message
    assert found.fault
    assert found.remedy
    assert found.message == f"{found.fault}: {found.remedy}"
    return found


def concerned(found: Finding) -> list[set[tuple[str, str]]]:
    """(name, split) of each group."""
    return [{(each.name, each.split) for each in group} for group in found.groups]
