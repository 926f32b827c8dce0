"""Speed of a training step with channels_last and bfloat16 on this CPU, as ratios in one run.

python benchmarks/memory_format.py
"""

import argparse
import time
from collections.abc import Callable

import torch
from sides import print_head, print_row
from torch import nn

from tune_bio.models.build import build_model
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.optimizer import build_optimizer

MODELS = ("resnet18", "squeezenet1_0", "timm:tf_efficientnet_lite0", "cnn")
BATCH, SIZE, STEPS, ROUNDS = 32, 64, 3, 5


def training_step(
    name: str, memory_format: torch.memory_format, *, half: bool = False, compiled: bool = False
) -> Callable[[], None]:
    """Return a function that runs one step of Adam on a fixed random batch."""
    config = TrialConfig.of({"model": name, "image_size": SIZE, "dropout": 0.0})
    model = build_model(config, 2, 3).to(memory_format=memory_format)
    optimizer = build_optimizer(config, [list(model.parameters())])
    forward = torch.compile(model) if compiled else model
    images = torch.rand(BATCH, 3, SIZE, SIZE).contiguous(memory_format=memory_format)
    labels = torch.arange(BATCH) % 2

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = nn.functional.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory format and bfloat16 on a CPU.")
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    print_head("model", "channels_last", "channels_last and bfloat16")
    for name in MODELS[-1:] if quick else MODELS:
        steps = [
            training_step(name, torch.contiguous_format, half=False),
            training_step(name, torch.channels_last, half=False),
            training_step(name, torch.channels_last, half=True),
        ]
        for step in steps:
            step()
        # The variants take turns, so that a slow moment of the machine affects all of them.
        rounds = [[seconds(step) for step in steps] for _ in range(ROUNDS)]
        plain, last, half = (sorted(column)[ROUNDS // 2] for column in zip(*rounds, strict=True))
        print_row(name, f"{plain / last:.2f}", f"{plain / half:.2f}")


if __name__ == "__main__":
    main()
