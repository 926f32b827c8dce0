"""The connection to Ray, and what the machine or cluster has."""

import sys
from dataclasses import dataclass
from pathlib import Path

import joblib
import psutil

from tune_bio.errors import ResourceError
from tune_bio.space.settings import SearchSettings

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
