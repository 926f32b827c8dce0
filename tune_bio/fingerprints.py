"""Content keys: what a thing is, told by its bytes."""

import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tune_bio.config import TrialConfig

# The rooms of the package whose code makes numbers: what is kept of their work is good for as long
# as they stay as they are.
NUMBERS = (
    "config", "seeding", "metrics", "datasets", "models", "optim", "schedules", "devices",
    "training", "training_state", "reuse", "checkpoints", "featuring", "sharing",
)  # fmt: skip
_PACKAGE = Path(__file__).parent


def config_id(config: TrialConfig) -> str:
    """Twelve hex digits that name a configuration, whatever its seed."""
    canonical = json.dumps(config.params(), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@functools.cache
def code_version() -> str:
    """The SHA-256, in hex, of the package's code that makes numbers.

    It stands in every key of work that is kept, so that a mended fault never serves old results.
    """
    return source_sha256(_PACKAGE, NUMBERS)


def source_sha256(package: Path, rooms: Iterable[str]) -> str:
    """One SHA-256, in hex, over the modules of these rooms of a package: names and bytes.

    A room is a module or a folder of modules.
    """
    digest = hashlib.sha256()
    for room in sorted(rooms):
        paths = [package / f"{room}.py", *(package / room).rglob("*.py")]
        for path in sorted(path for path in paths if path.is_file()):
            name = path.relative_to(package).as_posix()
            digest.update(f"{name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def array_sha256(*arrays: npt.NDArray[np.generic]) -> str:
    """One SHA-256 over the dtype, shape and bytes of each array, in hex."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
