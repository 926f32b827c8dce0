"""A trial's process that hangs is ended, and leaves word of where it hung."""

import faulthandler
import time
from pathlib import Path

from tune_bio.reuse.prefixes import CHECKPOINTS


class Watchdog:
    """Ends the process where no batch finishes for `seconds`; tells where it hung in `path`.

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
        """A batch is done. Arming starts a thread, so it is done once a second at most."""
        if time.monotonic() - self._armed_at > min(1.0, self._seconds / 4):
            self._arm()

    def _arm(self) -> None:
        self._armed_at = time.monotonic()
        faulthandler.dump_traceback_later(self._seconds, file=self._stream, exit=True)


def stall_file(study: Path, trial: str) -> Path:
    """Where a process that hangs leaves its last words."""
    return study / CHECKPOINTS / f"{trial}.stalled.txt"
