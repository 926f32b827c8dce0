"""Tune's actors, as cheap as they can be: a process takes seconds to import what a trial needs.

All of this reaches into Ray Tune, which has no setting for it; tests hold it there.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from ray.tune.execution import class_cache, tune_controller
from ray.tune.utils.object_cache import _ObjectCache


class KeptActors(_ObjectCache):
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
def few_processes() -> Iterator[None]:
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
    module._ObjectCache = KeptActors
    controller._maybe_reuse_cached_actor = reuse_if_none_begins
    try:
        yield
    finally:
        class_cache.DEFAULT_ENV_VARS.update(variables)
        module._ObjectCache = cache
        controller._maybe_reuse_cached_actor = reuse
