"""A Ray of our own begins only what a study needs."""

import os
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from ray._private.node import Node

from tune_bio.ray_tune.connection import connected
from tune_bio.ray_tune.ray_internals import preloading, without_helpers

VARIABLE = "RAY_preload_python_modules"
KEEP_IDLE = "RAY_idle_worker_killing_time_threshold_ms"
HELPERS = {"monitor.py", "log_monitor.py", "dashboard.py"}


def _helpers() -> set[str]:
    """Those of `HELPERS` that run below this process."""
    below = psutil.Process().children(recursive=True)
    words = [word for process in below for word in process.cmdline()]
    return {Path(word).name for word in words} & HELPERS


@pytest.mark.parametrize(("dashboard", "helpers"), [(False, set()), (True, HELPERS)])
def test_helpers_are_started_with_the_dashboard_alone(dashboard: bool, helpers: set[str]) -> None:
    with connected(None, dashboard=dashboard) as url:
        assert _helpers() == helpers
        assert bool(url) == dashboard
    assert not _helpers()


def test_ray_is_left_as_it_was_also_where_it_does_not_start() -> None:
    before = vars(Node).copy()
    with suppress(RuntimeError), without_helpers():
        assert vars(Node) != before
        raise RuntimeError
    assert vars(Node) == before


@pytest.mark.parametrize("given", [None, "their.own"])
def test_what_workers_import_is_told_by_a_variable_that_a_user_may_have_set(
    monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if given is not None:
        monkeypatch.setenv(VARIABLE, given)
    with preloading("some.module"):
        assert os.environ[VARIABLE] == (given or "some.module")
        assert KEEP_IDLE in os.environ
    assert os.environ.get(VARIABLE) == given
    assert KEEP_IDLE not in os.environ
    with preloading(None):
        assert os.environ.get(VARIABLE) == given
