"""Whether trials fit into memory: estimated before anything starts, from shapes alone."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tune_bio.datasets.images import Dataset
from tune_bio.errors import ResourceError
from tune_bio.models.cost import Cost, cost
from tune_bio.ray_tune.resources import Allotment, Node
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.fit import evaluation_batch

FLOAT = 4  # bytes
GIB = 2**30
# Python with PyTorch and Ray, before a model is built (benchmarks/trial_memory.py). 0.4 of it are
# pages of libraries, which the processes of a node share: several trials need somewhat less.
PROCESS = 0.9 * GIB
# A layer's input, its output, and what the convolution library lays out anew.
EVALUATION_MAPS = 3


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes of one trial: beside a GPU (or without one), and on it."""

    process: float
    on_gpu: float

    def fits(self, there: "MemoryNeed") -> bool:
        """Whether it is there."""
        return self.process <= there.process and self.on_gpu <= there.on_gpu


def refuse_unfit(
    configs: Iterable[TrialConfig],
    dataset: Dataset,
    nodes: tuple[Node, ...],
    allotment: Allotment,
) -> list[str]:
    """Refuse a configuration that no node has the memory for; notes on what may be tight.

    Raises:
        ResourceError: a trial that cannot fit even alone.
    """
    memory = max(node.memory for node in nodes)
    gpu_memory = max(node.gpu_memory for node in nodes) * min(1.0, allotment.gpus or 1.0)
    there = MemoryNeed(memory or math.inf, gpu_memory or math.inf)
    share = MemoryNeed(there.process * len(nodes) / allotment.concurrent, there.on_gpu)
    largest = 0.0
    for config in configs:
        # Fine-tuning needs the most of all freeze strategies, and counting it serves them all.
        free = config.model_copy(update={"freeze": "none"})
        need = estimate_memory(free, dataset, gpu=bool(allotment.gpus))
        if not need.fits(share):
            need = estimate_memory(config, dataset, gpu=bool(allotment.gpus))
        if not need.fits(there):
            raise _refusal(config, need, there)
        largest = max(largest, need.process)
    together = largest * allotment.concurrent / len(nodes)
    if not memory or together <= memory:
        return []
    fitting = max(1, int(memory // largest)) * len(nodes)
    return [
        f"the largest trials need about {_gib(largest)} each, and {allotment.concurrent} at a time "
        f"may not fit; if trials fail, --max-concurrent {fitting} fits"
    ]


def estimate_memory(config: TrialConfig, dataset: Dataset, *, gpu: bool) -> MemoryNeed:
    """What one trial will need at its widest moment, images in the object store left out."""
    found = cost(config, len(dataset.classes), dataset.channels)
    weights = FLOAT * found.parameters
    trained = FLOAT * found.trainable_parameters
    model = weights + trained * (1 + _slots(config))  # gradients, and the optimizer's moments
    copies = 2 * trained  # the best epoch's weights, and the last ones while those are scored
    device = "cuda" if gpu else "cpu"
    maps = _maps(config, found, max(len(dataset.train), len(dataset.val)), device)
    if gpu:
        return MemoryNeed(PROCESS + weights + copies, model + maps)
    return MemoryNeed(PROCESS + model + copies + maps, 0.0)


def _refusal(config: TrialConfig, need: MemoryNeed, there: MemoryNeed) -> ResourceError:
    beside = need.process > there.process
    wanted, has = (need.process, there.process) if beside else (need.on_gpu, there.on_gpu)
    return ResourceError(
        f"a trial of {_named(config)} needs about {_gib(wanted)} of {'' if beside else 'GPU '}"
        f"memory, and no node has more than {_gib(has)}",
        "lower width, image_size or batch_size there, or leave the model out",
    )


def _slots(config: TrialConfig) -> int:
    """Numbers that the optimizer keeps for each one that it trains."""
    if config.optimizer != "sgd":
        return 2
    return int(config.momentum > 0 or config.lr_schedule == "onecycle")


def _maps(config: TrialConfig, found: Cost, images: int, device: str) -> float:
    """What a batch takes between the layers, in training or in evaluation."""
    training = found.saved_bytes * min(config.batch_size, images)
    batch = min(evaluation_batch(config.image_size, device), images)
    evaluation = EVALUATION_MAPS * found.widest_bytes * batch
    return max(training, evaluation)


def _named(config: TrialConfig) -> str:
    layers = f", width={config.width}" if "width" in config.params() else ""
    return (
        f"{config.model} (image_size={config.image_size}, batch_size={config.batch_size}{layers})"
    )


def _gib(count: float) -> str:
    return f"{count / GIB:,.1f} GiB"
