"""The version of the code that affects results: one SHA-256 over its source."""

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

from tune_bio.common.hashing import file_sha256

# Folders of the package whose code affects results: stored work is valid while they are unchanged.
RESULT_FOLDERS = ("common", "space", "datasets", "models", "training", "reuse", "ray_tune")
_PACKAGE = Path(__file__).parents[1]


@functools.cache
def code_version() -> str:
    """Return the SHA-256, in hex, of the package's code that affects results.

    It is part of every key of stored work, so that results from before a bug fix are never reused.
    """
    return source_sha256(_PACKAGE, RESULT_FOLDERS)


def source_sha256(package: Path, folders: Iterable[str]) -> str:
    """Return one SHA-256, in hex, over the names and bytes of all modules in folders of a package.

    Raises:
        FileNotFoundError: a folder does not exist; its code would otherwise be ignored silently.
    """
    digest = hashlib.sha256()
    for folder in sorted(folders):
        if not (package / folder).is_dir():
            raise FileNotFoundError(package / folder)
        for path in sorted((package / folder).rglob("*.py")):
            name = path.relative_to(package).as_posix()
            digest.update(f"{name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()
