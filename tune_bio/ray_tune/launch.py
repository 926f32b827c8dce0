"""Ray, and what a study imports: either takes seconds, so they start side by side."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from tune_bio.common.imports import importing
from tune_bio.space.settings import SearchSettings

if TYPE_CHECKING:
    from tune_bio.ray_tune.resources import Node

STUDY, WORKER = "tune_bio.study.stages", "tune_bio.ray_tune.worker_preload"


@contextmanager
def ray_while_importing(
    settings: SearchSettings, address: str | None, *, dashboard: bool
) -> Iterator["tuple[Node, ...] | None"]:
    """Start Ray on this machine while a study's modules are imported; yields the machine.

    None, and no Ray yet, where a cluster is joined, and in a process that has the modules: a study
    that is refused is refused sooner then. What is refused behind this costs the end of a Ray on
    which nothing has run.
    """
    if address is not None or STUDY in sys.modules:
        yield None
        return
    with ExitStack() as running:
        # ray.init belongs into the main thread: Ray ends with the thread that started it.
        with ThreadPoolExecutor(1) as beside:
            beside.submit(import_study)
            from tune_bio.ray_tune.connection import connected
            from tune_bio.ray_tune.resources import allot, local_nodes

            nodes = local_nodes()
            warm = WORKER if allot(settings, nodes).occupies(nodes) else None
            running.enter_context(connected(None, dashboard=dashboard, warm=warm))
        yield nodes


def import_study() -> None:
    """Import what runs a study; no error is hidden, since who needs it imports it again."""
    with importing():
        import_module(STUDY)
