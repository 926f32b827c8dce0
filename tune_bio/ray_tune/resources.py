"""Resources: the nodes of a machine or cluster, and the share of each trial."""

import sys
from dataclasses import dataclass
from pathlib import Path

import joblib
import psutil

from tune_bio.errors import ResourceError
from tune_bio.space.settings import SearchSettings

# Files that show a GPU driver on Linux: NVIDIA (also on its boards), AMD, and Windows's under WSL.
_GPU_DRIVERS = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/nvmap", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True)
class Node:
    """One machine: the logical CPUs and GPUs that Ray schedules, and the memory in bytes.

    `gpu_memory` is the memory of one GPU; 0 if it is unknown.
    """

    cpus: float
    gpus: float
    memory: float = 0.0
    gpu_memory: float = 0.0

    def slots(self, cpus: float, gpus: float) -> int:
        """Return how many trials of this size fit; a share of a GPU cannot span two GPUs."""
        by_cpu = int(self.cpus / cpus + 1e-9)
        if gpus == 0:
            return by_cpu
        by_gpu = int(1 / gpus + 1e-9) * int(self.gpus) if gpus < 1 else int(self.gpus / gpus + 1e-9)
        return min(by_cpu, by_gpu)


@dataclass(frozen=True)
class Allotment:
    """The resources of each trial, and the number of trials that run at once."""

    cpus: float
    gpus: float
    concurrent: int

    def occupies(self, nodes: tuple[Node, ...]) -> bool:
        """Return True if trials fill at least half of Ray's worker processes, one per CPU."""
        return 2 * self.concurrent >= sum(node.cpus for node in nodes)

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.concurrent} trials at a time, each with {self.cpus:g} CPU{gpus}"


def local_nodes() -> tuple[Node, ...]:
    """Return this machine, within the limits that the operating system sets for this process."""
    gpus, gpu_memory = _gpus()
    return (Node(joblib.cpu_count(), gpus, _memory_limit(), gpu_memory),)


def _gpus() -> tuple[int, float]:
    """Return the number of GPUs that PyTorch can use here, and the memory of one."""
    if sys.platform == "linux" and not any(Path(device).exists() for device in _GPU_DRIVERS):
        return 0, 0.0  # known without PyTorch, which takes a second to import before Ray starts
    import torch

    count = torch.cuda.device_count()
    return count, float(torch.cuda.get_device_properties(0).total_memory) if count else 0.0


def _memory_limit() -> float:
    """Return this machine's memory in bytes, or the limit of the container of this process."""
    total = float(psutil.virtual_memory().total)
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else ""
    return min(total, float(text)) if text.isdigit() else total


def allot(settings: SearchSettings, nodes: tuple[Node, ...]) -> Allotment:
    """Return the resources of each trial, and how many trials the nodes can run at once.

    Raises:
        ResourceError: no node has the resources for one trial; Ray would wait forever.
    """
    cpus = settings.cpus_per_trial
    gpus = settings.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if any(node.gpus for node in nodes) else 0.0
    if gpus > 1 and gpus != int(gpus):
        raise ResourceError(
            f"--gpus-per-trial {gpus:g} is not a whole number", "above 1, ask for whole GPUs"
        )
    slots = sum(node.slots(cpus, gpus) for node in nodes)
    if slots == 0:
        available = "; ".join(f"{node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in nodes)
        raise ResourceError(
            f"a trial asks for {cpus:g} CPUs and {gpus:g} GPUs, and no node has them ({available})",
            "lower --cpus-per-trial or --gpus-per-trial",
        )
    return Allotment(cpus, gpus, min(slots, settings.max_concurrent or slots))
