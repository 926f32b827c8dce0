"""Patches of Ray's private parts, which no other file touches.

Ray has no settings for these: which modules its worker processes import, which helper processes it
starts, and that Tune's actors are reused. Every patch is guarded: where a version of Ray lacks a
private name, Ray runs without the patch, slower and with the same results. `missing_internals`
lists such names; a test shows that the supported versions lack none.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from ray._private.node import Node

# Ray reads these variables when it starts. Tune reserves the CPUs before it asks for processes, and
# Ray ends idle processes beyond the free CPUs after a second: those that have imported what a trial
# needs would end just before it starts.
_PRELOAD = "RAY_preload_python_modules"
_KEEP_IDLE = {"RAY_idle_worker_killing_time_threshold_ms": "3600000"}

# The methods that start the autoscaler, which has no nodes to start here; the forwarder of the
# workers' output, which is not shown; and the dashboard's server, which without the dashboard only
# reports usage statistics, and those are off. Ray waits for the server when it starts (more than a
# second), and for the autoscaler when it ends (a second).
_HELPERS = ("start_monitor", "start_log_monitor", "start_api_server")


def missing_internals() -> list[str]:
    """Return the private names that are patched here and that this version of Ray lacks."""
    node = [f"Node.{name}" for name in _HELPERS if not hasattr(Node, name)]
    return [*node, *_missing_in_tune()]


@contextmanager
def lean_start(module: str | None, *, dashboard: bool) -> Iterator[None]:
    """Let a Ray that starts in this block preload a module; start helpers only for a dashboard."""
    with preloading(module), nullcontext() if dashboard else without_helpers():
        yield


@contextmanager
def preloading(module: str | None) -> Iterator[None]:
    """Let the workers of a Ray that starts in this block import a module, and keep them."""
    variables = {} if module is None else {_PRELOAD: module, **_KEEP_IDLE}
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextmanager
def without_helpers() -> Iterator[None]:
    """Start a Ray in this block without the processes that only a dashboard or a cluster needs."""
    starts = {name: getattr(Node, name) for name in _HELPERS if hasattr(Node, name)}
    for name in starts:
        setattr(Node, name, _start_nothing)
    try:
        yield
    finally:
        for name, start in starts.items():
            setattr(Node, name, start)


def _start_nothing(self: Node, *args: Any, **kwargs: Any) -> None:
    """Start nothing."""


@contextmanager
def reuse_worker_processes() -> Iterator[None]:
    """Let trials run in existing worker processes, one after another.

    Tune sets a variable for PyTorch Lightning in its actors, and Ray starts a new process for an
    actor that sets variables, which imports everything again. Tune also keeps at most one idle
    actor beyond those that trials wait for, and with a searcher no trial waits: where two trials
    end at the same moment, one of their processes would be ended, and the next trial would start a
    new one. All actors of a study request the same resources, so idle actors block nothing.
    """
    if _missing_in_tune():
        yield
        return
    from ray.tune.execution import class_cache, tune_controller

    module: Any = tune_controller  # which does not export these names
    controller = module.TuneController
    variables, cache = dict(class_cache.DEFAULT_ENV_VARS), module._ObjectCache
    reuse = controller._maybe_reuse_cached_actor

    def reuse_unless_starting(self: Any, trial: Any) -> bool:
        starting = self._trial_to_actor.get(trial)
        if starting is not None and self._actor_manager.is_actor_started(starting):
            return False  # it would be ended while it imports, and be missing afterwards
        return bool(reuse(self, trial))

    class_cache.DEFAULT_ENV_VARS.clear()
    module._ObjectCache = _unbounded(cache)
    controller._maybe_reuse_cached_actor = reuse_unless_starting
    try:
        yield
    finally:
        class_cache.DEFAULT_ENV_VARS.update(variables)
        module._ObjectCache = cache
        controller._maybe_reuse_cached_actor = reuse


def _unbounded(object_cache: Any) -> Any:
    """Return Tune's cache of idle actors without its bound: all are kept until the search ends."""

    class UnboundedActorCache(object_cache):  # type: ignore[misc]
        def cache_object(self, key: Any, obj: Any) -> bool:
            self._cached_objects[key].append(obj)
            self._num_cached_objects += 1
            return True

        def flush_cached_objects(self, force_all: bool = False) -> Any:
            return super().flush_cached_objects(force_all=True) if force_all else iter(())

    return UnboundedActorCache


def _missing_in_tune() -> list[str]:
    from ray.tune.execution import class_cache, tune_controller  # Ray can start without them

    controller = getattr(tune_controller, "TuneController", None)
    cache = getattr(tune_controller, "_ObjectCache", None)
    attributes = controller.__init__.__code__.co_names if controller is not None else ()
    cached = vars(cache(may_keep_one=False)) if cache is not None else {}
    present = {
        "class_cache.DEFAULT_ENV_VARS": hasattr(class_cache, "DEFAULT_ENV_VARS"),
        "tune_controller._ObjectCache": cache is not None,
        "_ObjectCache._cached_objects": "_cached_objects" in cached,
        "_ObjectCache._num_cached_objects": "_num_cached_objects" in cached,
        "TuneController._maybe_reuse_cached_actor": hasattr(
            controller, "_maybe_reuse_cached_actor"
        ),
        "TuneController._trial_to_actor": "_trial_to_actor" in attributes,
        "TuneController._actor_manager": "_actor_manager" in attributes,
    }
    return [name for name, is_present in present.items() if not is_present]
