"""A study's manifest, experiment.json: written whole, read with checks."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_bio.common.files import write_text
from tune_bio.errors import ResultsError
from tune_bio.records.schema import FOLDER_REMEDY

MANIFEST = "experiment.json"

LEAKAGE = "LEAKAGE"  # a note on a data set begins with this if a leak was allowed


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write experiment.json, whole; numbers that are not finite become null: JSON has none."""
    text = json.dumps(_finite(manifest), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(folder / MANIFEST, text + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read experiment.json.

    Raises:
        ResultsError: the file is missing or damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(
            f"{folder / MANIFEST} cannot be read ({error})", FOLDER_REMEDY
        ) from error
    if not isinstance(manifest, dict):
        raise ResultsError(f"{folder / MANIFEST} is not the manifest of a study", FOLDER_REMEDY)
    return manifest
