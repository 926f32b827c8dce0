"""The version of the code that makes numbers: one SHA-256 over its source."""

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

from tune_bio.common.hashing import file_sha256

# Folders of the package whose code makes numbers: kept work is valid as long as they are unchanged.
MAKES_NUMBERS = ("common", "space", "datasets", "models", "training", "reuse", "ray_tune")
_PACKAGE = Path(__file__).parents[1]


@functools.cache
def code_version() -> str:
    """The SHA-256, in hex, of the package's code that makes numbers.

    It is part of every key of kept work, so that a mended fault never serves old results.
    """
    return source_sha256(_PACKAGE, MAKES_NUMBERS)


def source_sha256(package: Path, folders: Iterable[str]) -> str:
    """One SHA-256, in hex, over the names and bytes of all modules in these folders of a package.

    Raises:
        FileNotFoundError: a folder is missing; its code would silently not count.
    """
    digest = hashlib.sha256()
    for folder in sorted(folders):
        if not (package / folder).is_dir():
            raise FileNotFoundError(package / folder)
        for path in sorted((package / folder).rglob("*.py")):
            name = path.relative_to(package).as_posix()
            digest.update(f"{name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()
