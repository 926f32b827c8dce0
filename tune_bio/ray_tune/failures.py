"""Why a trial failed, in a sentence, with what to do about it."""

from pathlib import Path
from typing import Any

import ray.exceptions
from ray import cloudpickle

from tune_bio.errors import TuneBioError

_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")


def error_of(trial: Any) -> BaseException | None:
    """What Tune caught, from the file that it wrote a moment ago in this process.

    `trial.get_pickled_error()` looks into the storage, where the file arrives later.
    """
    path = trial.pickled_error_file
    if path is None or not Path(path).is_file():
        return None
    error: BaseException = cloudpickle.loads(Path(path).read_bytes())
    return error


def explain_failure(error: BaseException | None, last_words: Path, batch_size: int) -> str:
    """One line: the cause and the remedy.

    Args:
        error: what Tune caught, or None where it is lost.
        last_words: the file that a hung process leaves.
        batch_size: the trial's, from which the one to try is told where memory ran out.
    """
    less = _less(batch_size)
    stalled = _last_words(last_words)
    cause = _cause(error)
    if isinstance(cause, TuneBioError):
        return str(cause)
    if stalled:
        return (
            f"hung: no batch finished within the stall timeout, and the process was ended (at "
            f"{stalled}); raise --stall-timeout if the batches are slow"
        )
    if isinstance(cause, ray.exceptions.OutOfMemoryError):
        return f"out of memory: Ray ended the process to save the node; {less}"
    if any(words in str(cause).lower() for words in _NO_MEMORY):
        return f"out of memory: {_last_line(cause)}; {less}"
    died = isinstance(cause, ray.exceptions.RayActorError | ray.exceptions.WorkerCrashedError)
    if died and "creation task" not in str(cause):
        return (
            "the process died: it was killed, or the machine ran out of memory; see the system's "
            f"log, and {less}"
        )
    kind = "" if died or cause is None else f"{type(cause).__name__}: "
    return f"{kind}{_last_line(cause)}; an error of the trial itself: run it alone to look closer"


def _less(batch_size: int) -> str:
    """What to try with less memory; the batch's share of it goes with its size."""
    half = 2 ** max(1, (batch_size - 1).bit_length() - 1)
    smaller = f"try batch_size={half}, or lower " if half < batch_size else "lower "
    return smaller + "image_size, width or --max-concurrent"


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


def _last_line(error: BaseException | None) -> str:
    """A traceback's last line names the error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else "the cause is lost"


def reason_of(error: BaseException) -> str:
    """The cause, below Ray's wrapping, in one line."""
    while isinstance(error, ray.exceptions.RayTaskError) and error.cause is not None:
        error = error.cause
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
