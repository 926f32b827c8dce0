"""Explanations of failed trials: the cause and a remedy, in one line."""

from pathlib import Path
from typing import Any

import ray.exceptions
from ray import cloudpickle

from tune_bio.errors import TuneBioError

_MEMORY_ERRORS = ("out of memory", "can't allocate memory", "cannot allocate memory")


def error_of(trial: Any) -> BaseException | None:
    """Return the error that Tune caught, from the file that it has just written in this process.

    `trial.get_pickled_error()` would look into the storage, where the file arrives later.
    """
    path = trial.pickled_error_file
    if path is None or not Path(path).is_file():
        return None
    error: BaseException = cloudpickle.loads(Path(path).read_bytes())
    return error


def explain_failure(error: BaseException | None, stall_path: Path, batch_size: int) -> str:
    """Return the cause of a trial's failure and a remedy, in one line.

    Args:
        error: the error that Tune caught, or None if it is lost.
        stall_path: the file to which a hung process writes its traceback.
        batch_size: the trial's batch size, to suggest a smaller one where memory ran out.
    """
    memory_remedy = _memory_remedy(batch_size)
    stalled_at = _innermost_frame(stall_path)
    cause = _cause(error)
    if isinstance(cause, TuneBioError):
        return str(cause)
    if stalled_at:
        return (
            f"hung: no batch finished within the stall timeout, and the process was ended (at "
            f"{stalled_at}); raise --stall-timeout if the batches are slow"
        )
    if isinstance(cause, ray.exceptions.OutOfMemoryError):
        return f"out of memory: Ray ended the process to save the node; {memory_remedy}"
    if any(phrase in str(cause).lower() for phrase in _MEMORY_ERRORS):
        return f"out of memory: {_last_line(cause)}; {memory_remedy}"
    died = isinstance(cause, ray.exceptions.RayActorError | ray.exceptions.WorkerCrashedError)
    if died and "creation task" not in str(cause):
        return (
            "the process died: it was killed, or the machine ran out of memory; see the system's "
            f"log, and {memory_remedy}"
        )
    kind = "" if died or cause is None else f"{type(cause).__name__}: "
    return f"{kind}{_last_line(cause)}; the trial itself failed: run only this trial to debug it"


def _memory_remedy(batch_size: int) -> str:
    """Suggest how to need less memory; a batch needs memory in proportion to its size."""
    half = 2 ** max(1, (batch_size - 1).bit_length() - 1)
    smaller = f"try batch_size={half}, or lower " if half < batch_size else "lower "
    return smaller + "image_size, width or --max-concurrent"


def _cause(error: BaseException | None) -> BaseException | None:
    """Return the error that the trial itself raised, without Ray's wrappers."""
    while isinstance(error, ray.exceptions.RayTaskError) and error.cause is not None:
        error = error.cause
    return error


def _innermost_frame(path: Path) -> str:
    """Return where a process hung, from faulthandler's traceback, as 'file, line N, function'."""
    if not path.is_file():
        return ""
    lines = [line.strip() for line in path.read_text().splitlines() if "File " in line]
    return lines[0].removeprefix("File ").replace('"', "") if lines else ""


def _last_line(error: BaseException | None) -> str:
    """Return the last line of an error's text; in a traceback it names the error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else "the cause is unknown"


def reason_of(error: BaseException) -> str:
    """Return the cause of an error in one line, without Ray's wrappers."""
    while isinstance(error, ray.exceptions.RayTaskError) and error.cause is not None:
        error = error.cause
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
