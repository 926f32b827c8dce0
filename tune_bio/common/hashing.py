"""Content hashes: one SHA-256 per file or array."""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def array_sha256(*arrays: npt.NDArray[np.generic]) -> str:
    """Return one SHA-256 over the dtype, shape and bytes of each array, in hex."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
