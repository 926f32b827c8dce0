"""Computation of frozen features before the first trial: in the driver, or by tasks on a cluster.

Ray keeps the processes of tasks and actors apart, so a trial cannot use a task's process, with its
imports, afterwards. On one machine without a GPU the driver, which has imported everything,
therefore computes the features itself, with all of its cores, while Ray and its worker processes
start.
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

AHEAD = 2  # blocks that a task may be ahead of the driver; they wait in the object store

# Failures of one set, whose trials then run on images: no memory, no space, a killed process.
_FAILURES = (TuneBioError, ray.exceptions.RayError, RuntimeError, MemoryError, ArithmeticError)


def make_features(
    feature_set: FeatureSet,
    blocks: FeatureBlocks,
    store: FeatureStore,
    report: Callable[[int], None],
) -> str | None:
    """Write a feature set to `store` while it is computed; return the reason if that fails.

    `report` is called with the number of images that are done.
    """
    done = 0
    try:
        with store.writing(
            feature_set.key, feature_set.cut, feature_set.rows, feature_set.maker.dtype
        ) as write:
            report(0)
            for block, features in blocks:
                write(block.split, block.start, features)
                done += len(features)
                report(done)
    except _FAILURES as error:
        return reason_of(error)
    return None


def features_in_driver(
    feature_set: FeatureSet, data: TrialData, backbone: Tensors, processors: int
) -> FeatureBlocks:
    """Yield every block, in order, computed in this process with one thread per processor.

    Each thread computes whole blocks: several threads on one block would wait for each other
    whenever other processes, such as those of a Ray that is starting, need a processor too.
    """
    model = frozen_model(feature_set.config, backbone, data.format.channels)

    def compute(block: Block) -> tuple[Block, Features]:
        return block, _compute_block(feature_set, model, data, block, torch.device("cpu"))

    pool = ThreadPoolExecutor(processors, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from pool.map(compute, feature_set.blocks)
    finally:
        pool.shutdown(cancel_futures=True)


def features_by_tasks(
    feature_set: FeatureSet, shared: SharedInputs, allotment: Allotment
) -> FeatureBlocks:
    """Yield every block, computed by one task per slot, in the order of completion."""
    blocks = feature_set.blocks
    tasks = min(allotment.concurrent, len(blocks))
    task = ray.remote(_task).options(
        num_returns="streaming",
        num_cpus=allotment.cpus,
        num_gpus=allotment.gpus,
        max_retries=0,
        scheduling_strategy="SPREAD",
        _generator_backpressure_num_objects=AHEAD,
    )
    running: list[Any] = [task.remote(feature_set, shared, blocks[k::tasks]) for k in range(tasks)]
    try:
        while running:
            # Any task with a finished block: one that still waits for its slot delays no other.
            ready: Any = ray.wait(running, num_returns=1)[0][0]
            try:
                block, features = ray.get(next(ready))
                yield block, features
            except StopIteration:
                running.remove(ready)
    finally:
        for generator in running:
            ray.cancel(generator)


def _task(feature_set: FeatureSet, shared: SharedInputs, blocks: Sequence[Block]) -> FeatureBlocks:
    torch.set_num_threads(feature_set.maker.threads)
    device = torch.device("cuda" if feature_set.maker.device == "gpu" and _sees_gpu() else "cpu")
    data, backbone = shared.trial_data(feature_set.config), shared.backbone(feature_set.config)
    assert backbone is not None
    model = frozen_model(feature_set.config, backbone, data.format.channels).to(device)
    for block in blocks:
        yield block, _compute_block(feature_set, model, data, block, device)


def _compute_block(
    feature_set: FeatureSet, model: Classifier, data: TrialData, block: Block, device: torch.device
) -> Features:
    split = data.train if block.split == "train" else data.val
    pixels = base_array(split.pixels)[block.start : block.stop]
    transform = input_transform(feature_set.config, data.format)
    return compute_features(
        model, feature_set.cut, transform, pixels, feature_set.maker.dtype, device
    )


def _sees_gpu() -> bool:
    """Return True if PyTorch sees a GPU: Ray may count GPUs that do not exist."""
    return torch.cuda.is_available()
