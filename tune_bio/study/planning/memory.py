"""Memory that trials need, estimated from shapes before anything starts."""

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
# Python with PyTorch and Ray, before a model is built (benchmarks/trial_memory.py). 0.4 GiB of this
# are library pages, which the processes of a node share: several trials need somewhat less.
PROCESS = 0.9 * GIB
# A layer's input, its output, and the copy in the convolution library's own layout.
EVALUATION_MAPS = 3


@dataclass(frozen=True)
class MemoryNeed:
    """Memory of one trial in bytes: of its process, and on the GPU if it uses one."""

    process: float
    on_gpu: float

    def fits(self, available: "MemoryNeed") -> bool:
        """Return True if this much memory is available."""
        return self.process <= available.process and self.on_gpu <= available.on_gpu


def refuse_unfit(
    configs: Iterable[TrialConfig],
    dataset: Dataset,
    nodes: tuple[Node, ...],
    allotment: Allotment,
) -> list[str]:
    """Refuse configurations that no node has the memory for; return notes on trials that may fail.

    Raises:
        ResourceError: a trial does not fit even if it is the only one.
    """
    memory = max(node.memory for node in nodes)
    gpu_memory = max(node.gpu_memory for node in nodes) * min(1.0, allotment.gpus or 1.0)
    available = MemoryNeed(memory or math.inf, gpu_memory or math.inf)
    share = MemoryNeed(available.process * len(nodes) / allotment.concurrent, available.on_gpu)
    largest = 0.0
    for config in configs:
        # Fine-tuning needs the most memory of all freeze strategies; its count is cached for all.
        unfrozen = config.model_copy(update={"freeze": "none"})
        need = estimate_memory(unfrozen, dataset, gpu=bool(allotment.gpus))
        if not need.fits(share):
            need = estimate_memory(config, dataset, gpu=bool(allotment.gpus))
        if not need.fits(available):
            raise _refusal(config, need, available)
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
    """Estimate the peak memory of one trial, without the images in the object store."""
    counts = cost(config, len(dataset.classes), dataset.channels)
    weights = FLOAT * counts.parameters
    trained = FLOAT * counts.trainable_parameters
    model = weights + trained * (1 + _moments(config))  # gradients, and the optimizer's moments
    copies = 2 * trained  # the best epoch's weights, and the last epoch's while the best are scored
    device = "cuda" if gpu else "cpu"
    maps = _maps(config, counts, max(len(dataset.train), len(dataset.val)), device)
    if gpu:
        return MemoryNeed(PROCESS + weights + copies, model + maps)
    return MemoryNeed(PROCESS + model + copies + maps, 0.0)


def _refusal(config: TrialConfig, need: MemoryNeed, available: MemoryNeed) -> ResourceError:
    in_process = need.process > available.process
    required, largest = (
        (need.process, available.process) if in_process else (need.on_gpu, available.on_gpu)
    )
    return ResourceError(
        f"a trial of {_named(config)} needs about {_gib(required)} of "
        f"{'' if in_process else 'GPU '}memory, and no node has more than {_gib(largest)}",
        "lower width, image_size or batch_size of this model, or leave it out",
    )


def _moments(config: TrialConfig) -> int:
    """Return the number of values that the optimizer keeps per trained parameter."""
    if config.optimizer != "sgd":
        return 2
    return int(config.momentum > 0 or config.lr_schedule == "onecycle")


def _maps(config: TrialConfig, counts: Cost, images: int, device: str) -> float:
    """Return the bytes of a batch's feature maps, in training or in evaluation."""
    training = counts.saved_bytes * min(config.batch_size, images)
    batch = min(evaluation_batch(config.image_size, device), images)
    evaluation = EVALUATION_MAPS * counts.widest_bytes * batch
    return max(training, evaluation)


def _named(config: TrialConfig) -> str:
    layers = f", width={config.width}" if "width" in config.params() else ""
    return (
        f"{config.model} (image_size={config.image_size}, batch_size={config.batch_size}{layers})"
    )


def _gib(count: float) -> str:
    return f"{count / GIB:,.1f} GiB"
