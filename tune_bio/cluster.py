"""The connection to Ray, and what the machine or cluster has."""

import logging
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import psutil
import ray

from tune_bio.environment import prepare_environment, token_path
from tune_bio.errors import ResourceError
from tune_bio.local_ray import starting
from tune_bio.settings import SearchSettings

# Where Linux shows drivers of GPUs: NVIDIA (also on its boards), AMD, and that of Windows below it.
_GPU_DRIVERS = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/nvmap", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True)
class Node:
    """One machine: logical CPUs and GPUs that Ray schedules on, and memory in bytes.

    `gpu_memory` is that of one GPU; 0 where it is not known.
    """

    cpus: float
    gpus: float
    memory: float = 0.0
    gpu_memory: float = 0.0

    def slots(self, cpus: float, gpus: float) -> int:
        """How many trials of this size fit at once. A share of a GPU cannot span two GPUs."""
        by_cpu = int(self.cpus / cpus + 1e-9)
        if gpus == 0:
            return by_cpu
        by_gpu = int(1 / gpus + 1e-9) * int(self.gpus) if gpus < 1 else int(self.gpus / gpus + 1e-9)
        return min(by_cpu, by_gpu)


@dataclass(frozen=True)
class Allotment:
    """What each trial gets, and how many run at once."""

    cpus: float
    gpus: float
    concurrent: int

    def occupies(self, nodes: tuple[Node, ...]) -> bool:
        """Whether there are trials for most of the worker processes that Ray starts, one a CPU."""
        return 2 * self.concurrent >= sum(node.cpus for node in nodes)

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.concurrent} trials at a time, each with {self.cpus:g} CPU{gpus}"


def local_nodes() -> tuple[Node, ...]:
    """This machine, within the limits that the operating system sets for this process."""
    gpus, gpu_memory = _gpus()
    return (Node(joblib.cpu_count(), gpus, _memory_limit(), gpu_memory),)


def _gpus() -> tuple[int, float]:
    """How many GPUs PyTorch can use here, and the memory of one."""
    if sys.platform == "linux" and not any(Path(device).exists() for device in _GPU_DRIVERS):
        return 0, 0.0  # known without PyTorch, which takes a second to import before Ray starts
    import torch

    count = torch.cuda.device_count()
    return count, float(torch.cuda.get_device_properties(0).total_memory) if count else 0.0


def available_nodes(address: str | None = None) -> tuple[Node, ...]:
    """The nodes of the connected cluster (or of the one at `address`), else this machine."""
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


def _memory_limit() -> float:
    """The memory of this machine in bytes, or the limit of the container that this runs in."""
    total = float(psutil.virtual_memory().total)
    limit = Path("/sys/fs/cgroup/memory.max")
    told = limit.read_text().strip() if limit.is_file() else ""
    return min(total, float(told)) if told.isdigit() else total


def allot(settings: SearchSettings, nodes: tuple[Node, ...]) -> Allotment:
    """Fit trials on nodes.

    Raises:
        ResourceError: no node has what one trial asks for; Ray would wait for ever.
    """
    cpus = settings.cpus_per_trial
    gpus = settings.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if any(node.gpus for node in nodes) else 0.0
    if gpus > 1 and gpus != int(gpus):
        raise ResourceError(
            f"--gpus-per-trial {gpus:g} is no whole number", "above 1, ask for whole GPUs"
        )
    slots = sum(node.slots(cpus, gpus) for node in nodes)
    if slots == 0:
        has = "; ".join(f"{node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in nodes)
        raise ResourceError(
            f"a trial asks for {cpus:g} CPUs and {gpus:g} GPUs, and no node has them ({has})",
            "lower --cpus-per-trial or --gpus-per-trial",
        )
    return Allotment(cpus, gpus, min(slots, settings.max_concurrent or slots))


@contextmanager
def connected(
    address: str | None,
    *,
    dashboard: bool = False,
    warm: str | None = None,
) -> Iterator[str | None]:
    """Connect to Ray, or start it here; yield the dashboard's address where it is wanted.

    A connection that is there already (a notebook's) is used, and left as it is. Where Ray is
    started here, its worker processes, one a CPU, import the module `warm` while it starts, and
    it has no processes that only the dashboard or a cluster needs, unless the dashboard is wanted.
    """
    prepare_environment(address)
    for name in ("ray", "ray.tune", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # failures are told by us
    if ray.is_initialized():
        yield _dashboard(ray.init(ignore_reinit_error=True)) if dashboard else None
        return
    if address is not None:
        _refuse_silence(address)
    here = {} if address else _this_machine(dashboard=dashboard)
    try:
        with nullcontext() if address else starting(warm, dashboard=dashboard):
            context = ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **here,
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


def _this_machine(*, dashboard: bool) -> dict[str, Any]:
    (node,) = local_nodes()
    return {
        "num_cpus": int(node.cpus),
        "num_gpus": int(node.gpus),
        "include_dashboard": dashboard,
        "dashboard_host": "127.0.0.1",  # the Jobs API runs any code: never beyond this machine
    }


def _dashboard(context: object) -> str | None:
    url = getattr(context, "dashboard_url", None)
    return f"http://{url}" if url else None


def _refuse_silence(address: str) -> None:
    """Ray would knock at a closed port for minutes."""
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
    """Ray writes the token readable for everybody on the machine."""
    path = token_path()
    if path.is_file() and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
