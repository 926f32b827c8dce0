"""Frozen features are computed before the first trial: in the driver, or by tasks on a cluster.

A task's process is not one that Ray would give to a trial afterwards (it keeps those of tasks and
of actors apart), so that its imports serve nothing else. On one machine without a GPU the driver,
which has imported everything, therefore computes them itself, with all of its cores.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
import ray.exceptions
import torch

from tune_bio.cluster import Allotment
from tune_bio.datasets.features import Features
from tune_bio.errors import TuneBioError
from tune_bio.models import input_transform
from tune_bio.reuse.features import Block, FeatureSet, compute, frozen_model
from tune_bio.reuse.store import FeatureStore
from tune_bio.sharing import Shared

Made = Iterator[tuple[Block, Features]]

AHEAD = 2  # blocks that a task may be ahead of the driver: so much lies in the object store

# What may go wrong with one set and leaves the ordinary way: no memory, no space, a process killed.
_FAILURES = (TuneBioError, ray.exceptions.RayError, RuntimeError, MemoryError, ArithmeticError)


def make_features(
    wanted: FeatureSet,
    shared: Shared,
    store: FeatureStore,
    allotment: Allotment | None,
    tell: Callable[[int], None],
) -> str | None:
    """Compute a feature set and write it to `store`; None, or why that was not possible.

    Args:
        wanted: what to compute.
        shared: has the images and the backbone.
        store: where it is kept.
        allotment: of the tasks, one a slot; None where the driver computes.
        tell: is told how many images are done.
    """
    done = 0
    made = in_driver(wanted, shared) if allotment is None else by_tasks(wanted, shared, allotment)
    try:
        with store.writing(wanted.key, wanted.cut, wanted.rows, wanted.maker.dtype) as write:
            tell(0)
            for block, features in made:
                write(block.split, block.start, features)
                done += len(features)
                tell(done)
    except _FAILURES as error:
        return _reason(error)
    return None


def in_driver(wanted: FeatureSet, shared: Shared) -> Made:
    """Every block, computed here."""
    threads = torch.get_num_threads()
    try:
        yield from _computed(wanted, shared, wanted.blocks)
    finally:
        torch.set_num_threads(threads)


def by_tasks(wanted: FeatureSet, shared: Shared, allotment: Allotment) -> Made:
    """Every block, computed by one task a slot, in whatever order they come."""
    blocks = wanted.blocks
    tasks = min(allotment.concurrent, len(blocks))
    task = ray.remote(_computed).options(
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


def _computed(wanted: FeatureSet, shared: Shared, blocks: Sequence[Block]) -> Made:
    maker, config = wanted.maker, wanted.config
    torch.set_num_threads(maker.threads)
    device = torch.device("cuda" if maker.device == "gpu" and _sees_gpu() else "cpu")
    data, backbone = shared.trial_data(config), shared.backbone(config)
    assert backbone is not None
    model = frozen_model(config, backbone, data.format.channels).to(device)
    transform = input_transform(config, data.format)
    splits = {"train": data.train, "val": data.val}
    for block in blocks:
        pixels = splits[block.split].pixels[block.start : block.stop]
        yield block, compute(model, wanted.cut, transform, pixels, maker.dtype, device)


def _sees_gpu() -> bool:
    """Not where it exists as a number of Ray's only."""
    return torch.cuda.is_available()


def _reason(error: BaseException) -> str:
    """The cause, below Ray's wrapping, in one line."""
    while isinstance(error, ray.exceptions.RayTaskError) and error.cause is not None:
        error = error.cause
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
