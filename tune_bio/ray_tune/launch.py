"""The Ray session of a study, for command and notebook.

Starting Ray and importing what a study needs both take seconds, so they run in parallel.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from tune_bio.common.imports import importing
from tune_bio.space.settings import SearchSettings

if TYPE_CHECKING:  # importing them imports Ray
    from tune_bio.ray_tune.connection import Dashboard
    from tune_bio.ray_tune.resources import Node

# Names, since a lower layer does not import a higher one, and workers import by name.
STUDY, WORKER = "tune_bio.study.run", "tune_bio.ray_tune.worker_preload"


class RaySession:
    """Ray for one study: started on this machine, joined, or taken over from a notebook.

    Attributes:
        nodes: the machines that Ray has, or will have once it is started.
    """

    def __init__(
        self, settings: SearchSettings, address: str | None, *, dashboard: bool, stack: ExitStack
    ) -> None:
        """Join a cluster, since only it knows its nodes; `stack` ends the connection."""
        from tune_bio.ray_tune.connection import available_nodes

        self._settings = settings
        self._address = address
        self._wants_dashboard = dashboard
        self._stack = stack
        self._connected = False
        self._dashboard: Dashboard | None = None
        if address is not None:
            self.connect()
        self.nodes: tuple[Node, ...] = available_nodes()

    def connect(self) -> "Dashboard | None":
        """Start or join Ray, unless that has happened; return the dashboard if it was requested.

        Call this from the main thread: Ray ends with the thread that started it.

        Raises:
            ResourceError: no cluster answers, Ray does not start, or no node fits a trial.
        """
        from tune_bio.ray_tune.connection import connected
        from tune_bio.ray_tune.resources import allot

        if not self._connected:
            warm = None
            if self._address is None and allot(self._settings, self.nodes).occupies(self.nodes):
                warm = WORKER  # a trial's process takes seconds to import what it needs
            connection = connected(self._address, dashboard=self._wants_dashboard, warm=warm)
            self._dashboard = self._stack.enter_context(connection)
            self._connected = True
        return self._dashboard


@contextmanager
def open_ray_session(
    settings: SearchSettings, address: str | None = None, *, dashboard: bool = False
) -> Iterator[RaySession]:
    """Open Ray for a study, and close it after the block if it was opened here.

    In a process that has not imported a study's modules, Ray starts at once, while they are
    imported; if the study is then refused, Ray is shut down again without having run anything.
    In any other process Ray starts when the study calls `connect`.

    Raises:
        ResourceError: no cluster answers, Ray does not start, or no node fits a trial.
    """
    with ExitStack() as stack:
        if STUDY in sys.modules:
            yield RaySession(settings, address, dashboard=dashboard, stack=stack)
            return
        with ThreadPoolExecutor(1) as background:
            background.submit(_import_study)
            session = RaySession(settings, address, dashboard=dashboard, stack=stack)
            session.connect()
        yield session


def _import_study() -> None:
    """Import what runs a study; an error is raised again where the caller imports it."""
    with importing():
        import_module(STUDY)
