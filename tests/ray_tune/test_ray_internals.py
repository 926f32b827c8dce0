"""Patches of Ray: each applies to this version of Ray, and is undone at the end of its block."""

import os
import subprocess
import sys
from contextlib import suppress

import pytest
from ray._private.node import Node
from ray.tune.execution import class_cache, tune_controller

from tune_bio.ray_tune import ray_internals
from tune_bio.ray_tune.ray_internals import (
    missing_internals,
    preloading,
    reuse_worker_processes,
    without_helpers,
)

VARIABLE = "RAY_preload_python_modules"
KEEP_IDLE = "RAY_idle_worker_killing_time_threshold_ms"
HELPERS = {"monitor.py", "log_monitor.py", "dashboard.py"}
# Runs in a separate process, because all tests of a test worker share one Ray.
HELPERS_OF_A_RAY = """
import sys
from pathlib import Path
import psutil
from tune_bio.ray_tune.connection import connected

def helpers():
    processes = psutil.Process().children(recursive=True)
    words = [word for process in processes for word in process.cmdline()]
    return sorted({Path(word).name for word in words} & set(sys.argv[2:]))

with connected(None, dashboard=sys.argv[1] == "dashboard") as dashboard:
    print(*helpers())
    print(dashboard is not None)
print(*helpers())
"""


def test_every_patch_applies_to_this_version_of_ray() -> None:
    """The upper bound of Ray in pyproject.toml depends on this test: raise both together."""
    assert missing_internals() == []


@pytest.mark.parametrize(
    ("kind", "helpers"), [("none", set()), ("dashboard", HELPERS)], ids=["lean", "dashboard"]
)
def test_helpers_are_started_only_with_the_dashboard(kind: str, helpers: set[str]) -> None:
    completed = subprocess.run(
        [sys.executable, "-c", HELPERS_OF_A_RAY, kind, *HELPERS],
        capture_output=True,
        text=True,
        check=True,
    )
    running, has_dashboard, afterwards = completed.stdout.splitlines()
    assert set(running.split()) == helpers
    assert has_dashboard == str(kind == "dashboard")
    assert afterwards == ""


def test_the_patches_are_undone_even_after_an_error() -> None:
    node, controller = vars(Node).copy(), vars(tune_controller.TuneController).copy()
    cache, variables = tune_controller._ObjectCache, dict(class_cache.DEFAULT_ENV_VARS)
    with suppress(RuntimeError), without_helpers(), reuse_worker_processes():
        assert vars(Node) != node
        assert vars(tune_controller.TuneController) != controller
        raise RuntimeError
    assert vars(Node) == node
    assert vars(tune_controller.TuneController) == controller
    assert tune_controller._ObjectCache is cache
    assert variables == class_cache.DEFAULT_ENV_VARS


def test_another_version_of_ray_runs_without_the_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(class_cache, "DEFAULT_ENV_VARS")
    monkeypatch.setattr(ray_internals, "_HELPERS", ("start_monitor", "gone"))
    assert missing_internals() == ["Node.gone", "class_cache.DEFAULT_ENV_VARS"]
    cache, start = tune_controller._ObjectCache, Node.start_monitor
    with without_helpers(), reuse_worker_processes():
        assert tune_controller._ObjectCache is cache
        assert Node.start_monitor is not start


@pytest.mark.parametrize("users_module", [None, "their.own"])
def test_a_users_own_preloading_is_respected(
    monkeypatch: pytest.MonkeyPatch, users_module: str | None
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if users_module is not None:
        monkeypatch.setenv(VARIABLE, users_module)
    with preloading("some.module"):
        assert os.environ[VARIABLE] == (users_module or "some.module")
        assert KEEP_IDLE in os.environ
    assert os.environ.get(VARIABLE) == users_module
    assert KEEP_IDLE not in os.environ
    with preloading(None):
        assert os.environ.get(VARIABLE) == users_module
