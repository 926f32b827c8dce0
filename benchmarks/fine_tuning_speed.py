"""Fine-tuning: images per second in a trial, in a bare loop, and in plain Ray Tune's trial.

    python benchmarks/fine_tuning_speed.py [--rounds 7]

SqueezeNet at 64 px, batches of 32, one thread. The bare loop is the fastest that we could write:
uint8 tensors in memory, batches normalised in place, channels_last, fused Adam, and nothing
recorded. The trial is `train_epoch`, with everything that it records and with an evaluation
on a few images; plain Ray Tune's is a DataLoader with a transform an image. All three take turns in
this process; medians, in CPU seconds of its one thread, which other work on the machine changes
less. First it is shown that trial and bare loop have the same losses, step by step.

Wanted: at least 0.95 of the bare loop, and 1.3 times plain Ray Tune's.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import plain_ray_tune as plain
import torch
from sides import head, row, tell_load
from torch import nn
from torch.utils.data import DataLoader

from tune_bio.common.seeding import generator
from tune_bio.datasets.opening import open_arrays
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.trial_data import PreparedSplit, TrialData, prepare_data
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.fit import train_epoch
from tune_bio.training.state import TrainingState

SIZE, BATCH, LR, STEPS, EVALUATED = 64, 32, 1e-4, 5, 16
CONFIG = {"model": "squeezenet1_0", "image_size": SIZE, "batch_size": BATCH, "lr": LR,
          "dropout": 0.0, "epochs": 1000}  # fmt: skip


class Bare:
    """The bare loop over `data`, with a copy of the network of `state`."""

    def __init__(self, state: TrainingState, data: TrialData) -> None:
        self.model = copy.deepcopy(state.model).train()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LR, fused=True)
        self.images = torch.tensor(data.train.pixels)
        self.labels = torch.tensor(data.train.labels)
        self.scale = 1 / data.format.high  # black is 0
        self.mean, self.std = map(torch.tensor, (plain.IMAGENET_MEAN, plain.IMAGENET_STD))

    def epoch(self, batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The loss of each batch."""
        losses = []
        for batch in batches:
            pixels = self.images[batch].float().mul_(self.scale)
            images = (pixels - self.mean).div_(self.std).permute(0, 3, 1, 2)
            loss = nn.functional.cross_entropy(self.model(images), self.labels[batch])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return losses


class Trial:
    """tune_bio's trial over `data`."""

    def __init__(self, data: TrialData) -> None:
        self.data = data
        self.state = TrainingState(TrialConfig.of(CONFIG), data)
        self.losses: list[float] = []

    def record(self) -> None:
        """Keep the loss of each batch."""
        objective = self.state.loss

        def recorded(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            loss = objective(logits, labels)
            self.losses.append(float(loss.detach()))
            return loss

        self.state.loss = recorded


def largest_difference(data: TrialData) -> float:
    """Of trial and bare loop, in the losses of the first steps; relative."""
    trial = Trial(data)
    bare = Bare(trial.state, data)
    order = torch.randperm(len(data.train), generator=generator(0, "shuffle", 1))
    ours = bare.epoch(order.split(BATCH)[:STEPS])
    trial.record()
    train_epoch(trial.state, data)
    pairs = zip(ours, trial.losses, strict=False)
    return max(abs(float(a) - b) / b for a, b in pairs)


def make_data(images: int) -> TrialData:
    """Grey noise, a quarter of it darker in one class; three fifths of it to train on."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, SIZE, SIZE), dtype=np.uint8)
    pixels[:2, :2, :2] = [[[0]], [[255]]]  # the whole range, as the bare loop assumes
    labels = np.arange(images) % 2
    pixels[labels == 1, :32, :32] //= 2
    data = prepare_data(open_arrays(pixels, labels, np.arange(images)), Geometry(SIZE))
    few = PreparedSplit(data.val.pixels[:EVALUATED], data.val.labels[:EVALUATED])
    return replace(data, val=few)


def measure(data: TrialData, rounds: int) -> dict[str, list[float]]:
    """Images per second of each side, a round each."""
    n = len(data.train)
    trial = Trial(data)
    bare = Bare(trial.state, data)
    transform = plain.build_transform("squeezenet1_0", SIZE)
    split = plain.Split(data.train.pixels, data.train.labels, transform)
    loader = DataLoader(split, batch_size=BATCH, shuffle=True)
    model = plain.build_model({"model": "squeezenet1_0"}, 2, 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)

    sides: dict[str, Callable[[], object]] = {
        "bare loop": lambda: bare.epoch(torch.randperm(n).split(BATCH)),
        "tune_bio": lambda: train_epoch(trial.state, data),
        "plain Ray Tune": lambda: plain.train_epoch(model, loader, optimizer),
    }
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            began = time.process_time()
            side()
            if number:  # the first one warms up
                found[name].append(n / (time.process_time() - began))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of fine-tuning, side by side.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=600, help="three fifths are trained on")
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rounds, images = (1, 300) if arguments.quick else (arguments.rounds, arguments.images)
    torch.set_num_threads(1)
    tell_load()
    data = make_data(images)
    print(f"losses of the first {STEPS} steps: relative difference {largest_difference(data):.0e}")
    found = measure(data, rounds)
    reference = found["bare loop"]
    head("", "images per second", "of the bare loop", "each round")
    for name, speeds in found.items():
        # A round's own ratio: whatever else the machine does, it does to all three.
        ratios = [speed / bare for speed, bare in zip(speeds, reference, strict=True)]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        row(name, f"{statistics.median(speeds):.0f}", f"{statistics.median(ratios):.3f}", each)
    ours, theirs = found["tune_bio"], found["plain Ray Tune"]
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    print(f"\ntune_bio over plain Ray Tune: {ratio:.2f}")


if __name__ == "__main__":
    main()
