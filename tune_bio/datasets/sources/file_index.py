"""What is known of a folder's files without reading them again, as git's index knows it.

A file whose size, times and inode are as they were is taken to hold the bytes that it held.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tune_bio.common.files import write_text
from tune_bio.datasets.cache.arrays import clear_cache_errors
from tune_bio.datasets.decoding.decode import read_header
from tune_bio.datasets.decoding.parallel import Progress, map_in_order
from tune_bio.datasets.decoding.versions import DECODER_VERSION
from tune_bio.datasets.pixels import Header
from tune_bio.errors import DataError

Stat = tuple[int, ...]  # size, times in nanoseconds, inode

# A file that changed so shortly before it was read may change again within one tick of the file
# system's clock, unseen: it is read again the next time.
SETTLED_NS = 2_000_000_000


@dataclass(frozen=True)
class FileFacts:
    """A file's content, told by its hash and its header."""

    sha256: str
    header: Header


def scan_files(
    folder: Path, names: Sequence[str], cache: Path, progress: Progress
) -> list[FileFacts]:
    """The facts of each file, reading those alone that changed since the last time.

    Args:
        folder: that the names are relative to.
        names: of the files.
        cache: the cache folder; the index lies there.
        progress: called with (files read, all that must be read).

    Raises:
        DataError: a file cannot be read, or is no image; the cache cannot be written.
    """
    path = _index_path(folder, cache)
    known = _load(path)
    now = time.time_ns()
    stats = {name: _stat(folder / name) for name in names}
    unknown = [name for name in names if known.get(name, ((), None))[0] != stats[name]]
    read = dict(zip(unknown, _read_all(folder, unknown, progress), strict=True))
    facts = {name: read[name] if name in read else known[name][1] for name in names}
    if unknown or known.keys() - facts.keys():
        settled = {n: (stats[n], facts[n]) for n in names if now - max(stats[n][1:3]) > SETTLED_NS}
        _save(path, settled)
    return [facts[name] for name in names]


def read_bytes(path: Path) -> bytes:
    """A file's bytes; raises DataError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror})", "see to its permissions, or take it out"
        ) from error


def _read_all(folder: Path, names: Sequence[str], progress: Progress) -> Iterator[FileFacts]:
    def read(name: str) -> FileFacts:
        data = read_bytes(folder / name)
        return FileFacts(hashlib.sha256(data).hexdigest(), read_header(data, str(folder / name)))

    return map_in_order(read, names, progress)


def _stat(path: Path) -> Stat:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _index_path(folder: Path, cache: Path) -> Path:
    where = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:32]
    return cache / "indexes" / f"{where}.json"


def _load(path: Path) -> dict[str, tuple[Stat, FileFacts]]:
    """The index; empty where there is none, or one that cannot be understood."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["version"] != DECODER_VERSION:
            return {}
        return {
            name: (tuple(stat), FileFacts(sha256, Header(**header)))
            for name, (stat, sha256, header) in stored["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _save(path: Path, known: dict[str, tuple[Stat, FileFacts]]) -> None:
    files = {
        name: (stat, facts.sha256, asdict(facts.header)) for name, (stat, facts) in known.items()
    }
    with clear_cache_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"version": DECODER_VERSION, "files": files}))
