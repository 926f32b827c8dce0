"""A Ray that this process starts for one study: what its processes import, and which there are.

Ray has no setting for the latter, so this reaches into it; tests hold it there.
"""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from ray._private.node import Node
from ray.tune.execution import class_cache, tune_controller
from ray.tune.utils.object_cache import _ObjectCache

_PRELOAD = "RAY_preload_python_modules"
# Tune reserves the CPUs before it asks for processes; Ray ends idle ones beyond the free CPUs after
# a second. Those that have imported for a trial would go at the moment when it is to begin.
_KEEP_IDLE = {"RAY_idle_worker_killing_time_threshold_ms": "3600000"}

# What starts the autoscaler, which has nodes to start nowhere here; what forwards the workers'
# output, which nobody asked for; and the dashboard's server, which without the dashboard reports
# usage statistics alone, and those are off. Ray waits for the server when it starts (a second and
# more), and for the autoscaler when it ends (a second).
_HELPERS = ("start_monitor", "start_log_monitor", "start_api_server")


@contextmanager
def lean_start(module: str | None, *, dashboard: bool) -> Iterator[None]:
    """Start a Ray in this block: its workers import a module; helpers come with the dashboard."""
    with preloading(module), nullcontext() if dashboard else without_helpers():
        yield


@contextmanager
def preloading(module: str | None) -> Iterator[None]:
    """Let the workers of a Ray that is started in this block import a module, and be kept."""
    wanted = {} if module is None else {_PRELOAD: module, **_KEEP_IDLE}
    ours = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]


@contextmanager
def without_helpers() -> Iterator[None]:
    """Start a Ray in this block without the processes that only a dashboard or a cluster needs."""
    node: Any = Node
    # Another version of Ray, where they have other names, starts them all.
    starts = {name: getattr(node, name) for name in _HELPERS if hasattr(node, name)}
    for name in starts:
        setattr(node, name, _nothing)
    try:
        yield
    finally:
        for name, start in starts.items():
            setattr(node, name, start)


def _nothing(self: Node, *arguments: Any, **named: Any) -> None:
    """Start nothing."""


class UnboundedActorCache(_ObjectCache):
    """Every idle actor is kept until the search is over.

    Tune keeps one at most beyond those that trials wait for, and with a searcher no trial waits:
    where two end in one moment, one of their processes is ended, and the next trial starts anew.
    The actors of a study all ask for the same resources, so an idle one is in nobody's way.
    """

    def cache_object(self, key: Any, obj: Any) -> bool:
        """Keep an actor."""
        self._cached_objects[key].append(obj)
        self._num_cached_objects += 1
        return True

    def flush_cached_objects(self, force_all: bool = False) -> Generator[Any, None, None]:
        """Let them go when the search is over."""
        if force_all:
            yield from super().flush_cached_objects(force_all=True)


@contextmanager
def reuse_worker_processes() -> Iterator[None]:
    """Let trials run in the worker processes that are there, and go on from one to the next.

    Tune gives its actors a variable for PyTorch Lightning, and Ray gives an actor with variables
    of its own a process of its own, which imports everything again.
    """
    module: Any = tune_controller  # which keeps these names to itself
    controller = module.TuneController
    variables, cache = dict(class_cache.DEFAULT_ENV_VARS), module._ObjectCache
    reuse = controller._maybe_reuse_cached_actor

    def reuse_if_none_begins(self: Any, trial: Any) -> bool:
        begun = self._trial_to_actor.get(trial)
        if begun is not None and self._actor_manager.is_actor_started(begun):
            return False  # else it would be ended while it imports, and be missing afterwards
        return bool(reuse(self, trial))

    class_cache.DEFAULT_ENV_VARS.clear()
    module._ObjectCache = UnboundedActorCache
    controller._maybe_reuse_cached_actor = reuse_if_none_begins
    try:
        yield
    finally:
        class_cache.DEFAULT_ENV_VARS.update(variables)
        module._ObjectCache = cache
        controller._maybe_reuse_cached_actor = reuse
