"""Speed of fine-tuning: images per second in a trial, a bare loop, and plain Ray Tune's trial.

    python benchmarks/fine_tuning_speed.py [--rounds 7]

SqueezeNet at 64 px, batches of 32, one thread. The bare loop is the fastest that we could write:
uint8 tensors in memory, batches normalised in place, channels_last, fused Adam, and nothing
recorded. The trial is `train_epoch`, with everything that it records and an evaluation on a few
images; plain Ray Tune uses a DataLoader with one transform per image. All three take turns in this
process; medians, in CPU seconds of its one thread, which depend less on other work of the machine.
First, the losses of trial and bare loop are compared step by step.

Target: at least 0.95 of the bare loop, and 1.3 times plain Ray Tune.
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
from sides import print_head, print_load, print_row
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
        """Train one epoch; return the loss of each batch."""
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
    """A trial of tune_bio over `data`."""

    def __init__(self, data: TrialData) -> None:
        self.data = data
        self.state = TrainingState(TrialConfig.of(CONFIG), data)
        self.losses: list[float] = []

    def record(self) -> None:
        """Record the loss of each batch from now on."""
        objective = self.state.loss

        def recorded(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            loss = objective(logits, labels)
            self.losses.append(float(loss.detach()))
            return loss

        self.state.loss = recorded


def largest_difference(data: TrialData) -> float:
    """Return the largest relative difference in loss between trial and bare loop."""
    trial = Trial(data)
    bare = Bare(trial.state, data)
    order = torch.randperm(len(data.train), generator=generator(0, "shuffle", 1))
    bare_losses = bare.epoch(order.split(BATCH)[:STEPS])
    trial.record()
    train_epoch(trial.state, data)
    pairs = zip(bare_losses, trial.losses, strict=False)
    return max(abs(float(a) - b) / b for a, b in pairs)


def make_data(images: int) -> TrialData:
    """Make grey noise, one class darker in one quarter; three fifths are for training."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, SIZE, SIZE), dtype=np.uint8)
    pixels[:2, :2, :2] = [[[0]], [[255]]]  # the full range, as the bare loop assumes
    labels = np.arange(images) % 2
    pixels[labels == 1, :32, :32] //= 2
    data = prepare_data(open_arrays(pixels, labels, np.arange(images)), Geometry(SIZE))
    few = PreparedSplit(data.val.pixels[:EVALUATED], data.val.labels[:EVALUATED])
    return replace(data, val=few)


def measure(data: TrialData, rounds: int) -> dict[str, list[float]]:
    """Return the images per second of each side, one value per round."""
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
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            began = time.process_time()
            side()
            if number:  # the first round warms up
                speeds[name].append(n / (time.process_time() - began))
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of fine-tuning, compared.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=600, help="three fifths are for training")
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rounds, images = (1, 300) if arguments.quick else (arguments.rounds, arguments.images)
    torch.set_num_threads(1)
    print_load()
    data = make_data(images)
    print(f"losses of the first {STEPS} steps: relative difference {largest_difference(data):.0e}")
    speeds = measure(data, rounds)
    reference = speeds["bare loop"]
    print_head("", "images per second", "relative to the bare loop", "each round")
    for name, values in speeds.items():
        # One ratio per round: other work on the machine affects all three alike.
        ratios = [speed / bare for speed, bare in zip(values, reference, strict=True)]
        rounds_text = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print_row(
            name,
            f"{statistics.median(values):.0f}",
            f"{statistics.median(ratios):.3f}",
            rounds_text,
        )
    ours, theirs = speeds["tune_bio"], speeds["plain Ray Tune"]
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    print(f"\ntune_bio over plain Ray Tune: {ratio:.2f}")


if __name__ == "__main__":
    main()
