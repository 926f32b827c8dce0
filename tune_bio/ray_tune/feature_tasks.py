"""Frozen features are computed before the first trial: in the driver, or by tasks on a cluster.

A task's process is not one that Ray would give to a trial afterwards (it keeps those of tasks and
of actors apart), so that its imports serve nothing else. On one machine without a GPU the driver,
which has imported everything, therefore computes them itself, with all of its cores, while Ray
and its worker processes start.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
import ray.exceptions
import torch

from tune_bio.datasets.feature_arrays import Features
from tune_bio.datasets.row_view import base_array
from tune_bio.datasets.trial_data import TrialData
from tune_bio.errors import TuneBioError
from tune_bio.models.build import input_transform
from tune_bio.models.classifier import Classifier
from tune_bio.ray_tune.failures import reason_of
from tune_bio.ray_tune.object_store import SharedInputs
from tune_bio.ray_tune.resources import Allotment
from tune_bio.reuse.feature_store import FeatureStore
from tune_bio.reuse.frozen_features import Block, FeatureSet, compute_features, frozen_model
from tune_bio.training.state import Tensors

FeatureBlocks = Iterator[tuple[Block, Features]]

AHEAD = 2  # blocks that a task may be ahead of the driver: so much lies in the object store

# What may go wrong with one set and leaves the ordinary way: no memory, no space, a process killed.
_FAILURES = (TuneBioError, ray.exceptions.RayError, RuntimeError, MemoryError, ArithmeticError)


def make_features(
    wanted: FeatureSet, made: FeatureBlocks, store: FeatureStore, tell: Callable[[int], None]
) -> str | None:
    """Write a feature set to `store` while it is computed; None, or why that was not possible.

    `tell` is told how many images are done.
    """
    done = 0
    try:
        with store.writing(wanted.key, wanted.cut, wanted.rows, wanted.maker.dtype) as write:
            tell(0)
            for block, features in made:
                write(block.split, block.start, features)
                done += len(features)
                tell(done)
    except _FAILURES as error:
        return reason_of(error)
    return None


def features_in_driver(
    wanted: FeatureSet, data: TrialData, backbone: Tensors, processors: int
) -> FeatureBlocks:
    """Every block, in order, computed here by a thread a processor.

    Each thread computes blocks of its own: several to a block would wait for each other wherever
    other processes, as those of Ray that are starting, need a processor too.
    """
    model = frozen_model(wanted.config, backbone, data.format.channels)

    def work(block: Block) -> tuple[Block, Features]:
        return block, _computed(wanted, model, data, block, torch.device("cpu"))

    pool = ThreadPoolExecutor(processors, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from pool.map(work, wanted.blocks)
    finally:
        pool.shutdown(cancel_futures=True)


def features_by_tasks(
    wanted: FeatureSet, shared: SharedInputs, allotment: Allotment
) -> FeatureBlocks:
    """Every block, computed by one task a slot, in whatever order they come."""
    blocks = wanted.blocks
    tasks = min(allotment.concurrent, len(blocks))
    task = ray.remote(_task).options(
        num_returns="streaming",
        num_cpus=allotment.cpus,
        num_gpus=allotment.gpus,
        max_retries=0,
        scheduling_strategy="SPREAD",
        _generator_backpressure_num_objects=AHEAD,
    )
    running: list[Any] = [task.remote(wanted, shared, blocks[k::tasks]) for k in range(tasks)]
    try:
        while running:
            # Whichever has something: a slot that others hold is not waited for.
            ready: Any = ray.wait(running, num_returns=1)[0][0]
            try:
                block, features = ray.get(next(ready))
                yield block, features
            except StopIteration:
                running.remove(ready)
    finally:
        for generator in running:
            ray.cancel(generator)


def _task(wanted: FeatureSet, shared: SharedInputs, blocks: Sequence[Block]) -> FeatureBlocks:
    torch.set_num_threads(wanted.maker.threads)
    device = torch.device("cuda" if wanted.maker.device == "gpu" and _sees_gpu() else "cpu")
    data, backbone = shared.trial_data(wanted.config), shared.backbone(wanted.config)
    assert backbone is not None
    model = frozen_model(wanted.config, backbone, data.format.channels).to(device)
    for block in blocks:
        yield block, _computed(wanted, model, data, block, device)


def _computed(
    wanted: FeatureSet, model: Classifier, data: TrialData, block: Block, device: torch.device
) -> Features:
    split = data.train if block.split == "train" else data.val
    pixels = base_array(split.pixels)[block.start : block.stop]
    transform = input_transform(wanted.config, data.format)
    return compute_features(model, wanted.cut, transform, pixels, wanted.maker.dtype, device)


def _sees_gpu() -> bool:
    """Not where it exists as a number of Ray's only."""
    return torch.cuda.is_available()
