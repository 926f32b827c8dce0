"""Why a trial failed, in a sentence, with what to do about it."""

from pathlib import Path

import ray.exceptions

from tune_bio.errors import TuneBioError
from tune_bio.trainable import STALL_FILE


def explain(error: BaseException | None, folder: Path) -> str:
    """One line: the cause and the remedy.

    Args:
        error: what Tune caught, or None where it is lost.
        folder: the trial's checkpoint folder, where a hung process leaves its last words.
    """
    stalled = _last_words(folder / STALL_FILE)
    cause = _cause(error)
    if isinstance(cause, TuneBioError):
        return str(cause)
    if stalled:
        return (
            f"hung at {stalled}: no batch finished within the stall timeout, and the process was "
            "ended; raise --stall-timeout if the batches are slow, else report the place"
        )
    if isinstance(cause, ray.exceptions.OutOfMemoryError):
        return (
            "out of memory: Ray ended the process to save the node; lower batch_size, "
            "image_size or --max-concurrent"
        )
    if any(words in str(cause).lower() for words in ("out of memory", "can't allocate memory")):
        return f"out of memory; lower batch_size, image_size or width ({_line(cause)})"
    if isinstance(cause, ray.exceptions.RayActorError | ray.exceptions.WorkerCrashedError):
        return (
            "the process died: it was killed, or the machine ran out of memory; look at the "
            "system's log, and lower batch_size or --max-concurrent"
        )
    return f"{type(cause).__name__}: {_line(cause)}; the trial's own error, see `error` in the log"


def _cause(error: BaseException | None) -> BaseException | None:
    """What the trial itself raised, below Ray's wrapping."""
    while isinstance(error, ray.exceptions.RayTaskError) and error.cause is not None:
        error = error.cause
    return error


def _last_words(path: Path) -> str:
    """The innermost place in the traceback that faulthandler wrote, as 'file, line N, function'."""
    if not path.is_file():
        return ""
    lines = [line.strip() for line in path.read_text().splitlines() if "File " in line]
    return lines[0].removeprefix("File ").replace('"', "") if lines else ""


def _line(error: BaseException | None) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else ""
