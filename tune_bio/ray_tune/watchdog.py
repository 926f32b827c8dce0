"""A watchdog that ends a trial's process when it hangs, and records where it hung."""

import faulthandler
import time
from pathlib import Path

from tune_bio.reuse.prefixes import CHECKPOINTS


class Watchdog:
    """Ends the process if no batch finishes within `seconds`; writes where it hung to `path`.

    The timer is faulthandler's: it runs outside the interpreter, so a loop in C or a lock that
    is never released cannot stop it. The driver sees a dead actor and reads the file.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._armed_at = 0.0

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._path.open("w")
        self._arm()

    def __exit__(self, *exception: object) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._stream.close()
        self._path.unlink(missing_ok=True)

    def heartbeat(self) -> None:
        """Report a finished batch. Arming starts a thread, so it is done at most once a second."""
        if time.monotonic() - self._armed_at > min(1.0, self._seconds / 4):
            self._arm()

    def _arm(self) -> None:
        self._armed_at = time.monotonic()
        faulthandler.dump_traceback_later(self._seconds, file=self._stream, exit=True)


def stall_file(study: Path, trial: str) -> Path:
    """Return the file to which a hung process writes its traceback."""
    return study / CHECKPOINTS / f"{trial}.stalled.txt"
