"""The connection to Ray: joins a cluster, or starts Ray on this machine."""

import logging
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import ray

from tune_bio.errors import ResourceError
from tune_bio.ray_tune.environment import prepare_environment, token_path
from tune_bio.ray_tune.ray_internals import lean_start
from tune_bio.ray_tune.resources import Node, local_nodes


@dataclass(frozen=True)
class Dashboard:
    """Ray's dashboard: its address on this machine, and the token that it requires, if any."""

    url: str
    token: str | None


def available_nodes(address: str | None = None) -> tuple[Node, ...]:
    """Return the nodes of the cluster at `address` or of the connected one, else this machine."""
    if address is not None:
        with connected(address):
            return available_nodes()
    if not ray.is_initialized():
        return local_nodes()
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return tuple(_node(resources) for resources in alive)


def _node(resources: dict[str, float]) -> Node:
    # Ray divides a node's memory into what processes may use and the object store.
    memory = resources.get("memory", 0) + resources.get("object_store_memory", 0)
    return Node(resources.get("CPU", 0), resources.get("GPU", 0), memory)


@contextmanager
def connected(
    address: str | None, *, dashboard: bool = False, warm: str | None = None
) -> Iterator[Dashboard | None]:
    """Connect to Ray, or start it on this machine; yield its dashboard if that is requested.

    An existing connection (a notebook's) is used, and left as it is. Where Ray is started, its
    worker processes, one per CPU, import the module `warm` meanwhile, and processes that only the
    dashboard or a cluster needs are left out unless the dashboard is requested.

    Raises:
        ResourceError: no cluster answers at `address`, or Ray does not start.
    """
    prepare_environment(address)
    for name in ("ray", "ray.tune", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # we report failures ourselves
    if ray.is_initialized():
        yield _dashboard(ray.init(ignore_reinit_error=True)) if dashboard else None
        return
    if address is not None:
        _refuse_silence(address)
    options = {} if address else _local_options(dashboard=dashboard)
    try:
        with nullcontext() if address else lean_start(warm, dashboard=dashboard):
            context = ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **options,
            )
    except (ConnectionError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise ResourceError(
            f"no Ray cluster at {address or 'this machine'} ({first})",
            "start one with `ray start --head`, or leave --address out",
        ) from error
    _tighten_token()
    try:
        yield _dashboard(context) if dashboard else None
    finally:
        ray.shutdown()


def _local_options(*, dashboard: bool) -> dict[str, Any]:
    (node,) = local_nodes()
    return {
        "num_cpus": int(node.cpus),
        "num_gpus": int(node.gpus),
        "include_dashboard": dashboard,
        "dashboard_host": "127.0.0.1",  # the Jobs API runs any code: never beyond this machine
    }


def _dashboard(context: object) -> Dashboard | None:
    url = getattr(context, "dashboard_url", None)
    token = token_path().read_text().strip() if token_path().is_file() else None
    return Dashboard(f"http://{url}", token) if url else None


def _refuse_silence(address: str) -> None:
    """Refuse an address where nothing listens: Ray would try a closed port for minutes."""
    host, separator, port = address.rpartition(":")
    if not separator:
        return  # "auto" and the like: Ray looks the address up on this machine
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise ResourceError(
            f"no Ray cluster answers at {address} ({error})",
            "start one with `ray start --head`, or leave --address out",
        ) from error


def _tighten_token() -> None:
    """Make the token private: Ray writes it readable for every user of the machine."""
    path = token_path()
    if path.is_file() and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
