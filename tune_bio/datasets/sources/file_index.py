"""An index of a folder's files, so that unchanged files are not read again.

As in git's index, a file with the same size, times and inode is assumed to be unchanged.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tune_bio.common.files import write_text
from tune_bio.datasets.cache.arrays import report_cache_errors
from tune_bio.datasets.decoding.decode import read_header
from tune_bio.datasets.decoding.parallel import Progress, map_in_order
from tune_bio.datasets.decoding.versions import DECODER_VERSION
from tune_bio.datasets.pixels import Header
from tune_bio.errors import DataError

Stat = tuple[int, ...]  # size, times in nanoseconds, inode

# A file that changed less than this before it was read could change again within the same tick of
# the file system's clock, without a trace in its times: it is read again the next time.
SETTLED_NS = 2_000_000_000


@dataclass(frozen=True)
class FileFacts:
    """The SHA-256 and the image header of one file."""

    sha256: str
    header: Header


def scan_files(
    folder: Path, names: Sequence[str], cache: Path, progress: Progress
) -> list[FileFacts]:
    """Return the facts of each file; read only files that changed since the last scan.

    Args:
        folder: folder that `names` are relative to.
        names: names of the files.
        cache: cache folder, which holds the index.
        progress: called with (files read, files to read).

    Raises:
        DataError: a file cannot be read or is not an image, or the cache cannot be written.
    """
    path = _index_path(folder, cache)
    index = _load(path)
    now = time.time_ns()
    stats = {name: _stat(folder / name) for name in names}
    changed = [name for name in names if index.get(name, ((), None))[0] != stats[name]]
    scanned = dict(zip(changed, _read_all(folder, changed, progress), strict=True))
    facts = {name: scanned[name] if name in scanned else index[name][1] for name in names}
    if changed or index.keys() - facts.keys():
        settled = {n: (stats[n], facts[n]) for n in names if now - max(stats[n][1:3]) > SETTLED_NS}
        _save(path, settled)
    return [facts[name] for name in names]


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; raises DataError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror})", "check its permissions, or remove it"
        ) from error


def _read_all(folder: Path, names: Sequence[str], progress: Progress) -> Iterator[FileFacts]:
    def read(name: str) -> FileFacts:
        data = read_bytes(folder / name)
        return FileFacts(hashlib.sha256(data).hexdigest(), read_header(data, str(folder / name)))

    return map_in_order(read, names, progress)


def _stat(path: Path) -> Stat:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _index_path(folder: Path, cache: Path) -> Path:
    folder_hash = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:32]
    return cache / "indexes" / f"{folder_hash}.json"


def _load(path: Path) -> dict[str, tuple[Stat, FileFacts]]:
    """Load the index; return an empty one if it is missing or invalid."""
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


def _save(path: Path, index: dict[str, tuple[Stat, FileFacts]]) -> None:
    files = {
        name: (stat, facts.sha256, asdict(facts.header)) for name, (stat, facts) in index.items()
    }
    with report_cache_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"version": DECODER_VERSION, "files": files}))
