"""Trials run in the worker processes that Ray has started already."""

import time
from collections.abc import Callable
from typing import Any

import psutil

PATIENCE_SECONDS = 60


def _waiting() -> set[int]:
    """Worker processes of this session's Ray that have had nothing to do yet."""
    below = psutil.Process().children(recursive=True)
    return {process.pid for process in below if "ray::IDLE" in " ".join(process.cmdline())}


def test_a_study_uses_the_processes_that_wait(study: Callable[..., Any]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(waiting := _waiting()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(waiting) == 2
    assert study("--num-trials", "2", "--max-epochs", "1", "--max-concurrent", "2").status == 0
    while psutil.pid_exists(min(waiting)) and time.monotonic() < deadline:
        time.sleep(0.1)
    # An actor's process ends with it; those that are not used go on waiting.
    assert not waiting & _waiting()
