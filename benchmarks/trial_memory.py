"""Accuracy of the memory estimate: one epoch of each configuration in a fresh process.

    python benchmarks/trial_memory.py

First, a Ray worker that has imported what a trial needs and has trained nothing; this corresponds
to `memory.PROCESS`. Then the peak of each configuration, in a process with the same imports. Images
are excluded, because trials share them. Linux only.
"""

import importlib
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from tune_bio.models.weights.pretrained import load_backbone
from tune_bio.models.weights.published import resolve
from tune_bio.ray_tune.environment import prepare_environment
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.state import Tensors

IMAGES = 320  # three fifths are for training, more than any batch
MIB = 2**20
TRAINABLE = "tune_bio.ray_tune.trainable"  # the module that a worker imports
LITE = {"model": "timm:tf_efficientnet_lite0", "weights": "imagenet"}
CONFIGURATIONS: tuple[dict[str, Any], ...] = (
    {"model": "ann", "width": 64, "image_size": 64},
    {"model": "ann", "width": 2000, "image_size": 224},
    {"model": "cnn", "image_size": 128},
    {"model": "cnn", "image_size": 224, "batch_size": 64},
    {"model": "resnet18", "image_size": 128},
    {"model": "squeezenet1_0", "image_size": 224},
    {"model": "densenet121", "image_size": 128},
    {**LITE, "image_size": 224},
    {**LITE, "freeze": "backbone", "image_size": 224},
)


def idle_worker() -> dict[str, float]:
    """Return the bytes of a Ray worker before it builds a model: resident, and private."""
    prepare_environment()
    import ray

    def measure() -> dict[str, float]:
        importlib.import_module(TRAINABLE)
        info = psutil.Process().memory_full_info()
        return {"resident": info.rss, "private": info.uss}

    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False,
             logging_level="ERROR")  # fmt: skip
    importlib.import_module(TRAINABLE)  # as in a driver, which shares its libraries
    memory: dict[str, float] = ray.get(ray.remote(measure).remote())
    ray.shutdown()
    return memory


def one_epoch(params: dict[str, Any]) -> dict[str, float]:
    """Train one epoch; return the bytes of the process before, at its peak, and estimated."""
    prepare_environment()
    importlib.import_module(TRAINABLE)
    from tune_bio.datasets.opening import open_arrays
    from tune_bio.datasets.transforms.geometry import Geometry
    from tune_bio.datasets.trial_data import prepare_data
    from tune_bio.study.planning.memory import PROCESS, estimate_memory
    from tune_bio.training.fit import train_epoch
    from tune_bio.training.state import TrainingState

    torch.set_num_threads(1)
    config = TrialConfig.of({"epochs": 1, **params})
    shape = (IMAGES, config.image_size, config.image_size)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    dataset = open_arrays(images, np.arange(IMAGES) % 2, np.arange(IMAGES))
    expected = estimate_memory(config, dataset, gpu=False).process
    data = prepare_data(dataset, Geometry.of(config))
    backbone = _backbone(config)
    pixels = images.nbytes + data.train.pixels.nbytes + data.val.pixels.nbytes
    before = _resident("VmRSS") - pixels
    _reset_peak()
    train_epoch(TrainingState(config, data, backbone=backbone), data)
    peak = _resident("VmHWM") - pixels
    return {"before": before, "peak": peak, "estimate": expected, "process": PROCESS}


def _backbone(config: TrialConfig) -> Tensors | None:
    if config.weights == "none":
        return None
    pair = (config.model, config.weights)
    arrays = load_backbone(config.model, resolve([pair], None).files[pair])
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _resident(field: str) -> float:
    """Return VmRSS (now) or VmHWM (peak) of this process; getrusage may give its parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return float(value.split()[0]) * 1024
    raise ValueError(field)


def _description(params: dict[str, Any]) -> str:
    parts = [str(params["model"])]
    parts += [f"{name} {value}" for name, value in params.items() if name in ("width", "freeze")]
    return f"{', '.join(parts)} | {params['image_size']} | {params.get('batch_size', 32)}"


def main() -> None:
    if sys.platform != "linux":
        sys.exit("the peak of a process is read from /proc, which only Linux has")
    # One process per configuration: freed memory is not always returned to the system.
    fresh = multiprocessing.get_context("spawn")
    with fresh.Pool(1, maxtasksperchild=1) as pool:
        worker = pool.apply(idle_worker)
        sizes = (f"{value / MIB:,.0f} MiB {name}" for name, value in worker.items())
        print(f"an idle worker: {', '.join(sizes)}\n")
        print("| configuration | px | batch | peak MiB | estimate / peak | without the process |")
        print("|---|---|---|---|---|---|")
        for params in CONFIGURATIONS:
            memory = pool.apply(one_epoch, (params,))
            peak, before = memory["peak"], memory["before"]
            without_process = (memory["estimate"] - memory["process"]) / (peak - before)
            print(
                f"| {_description(params)} | {peak / MIB:,.0f} | {memory['estimate'] / peak:.2f} "
                f"| {without_process:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
