"""Cost of dropout in an epoch of a linear probe on a CPU: PyTorch's and ours, in one run.

    python benchmarks/dropout.py

One thread; a head (dropout, 1x1 convolution, mean, cross-entropy, Adam) on random features of the
size of a SqueezeNet's at 64 px, for the number of training images of PneumoniaMNIST. The three take
turns.
"""

import statistics
import time

import torch
from torch import nn

from tune_bio.models.dropout import Dropout

IMAGES, CHANNELS, SIDE, P, ROUNDS = 3382, 512, 3, 0.4, 7
HEADS = {"no dropout": nn.Identity(), "torch.nn.Dropout": nn.Dropout(P), "tune_bio": Dropout(P)}


def epoch(dropout: nn.Module, features: torch.Tensor, labels: torch.Tensor, batch: int) -> float:
    """Train a new head for one epoch; return the CPU seconds."""
    layers = (dropout, nn.Conv2d(CHANNELS, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    head = nn.Sequential(*layers).train()
    optimizer = torch.optim.Adam(head.parameters(), fused=True)
    started = time.process_time()
    for rows in torch.randperm(len(features)).split(batch):
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(head(features[rows]), labels[rows]).backward()
        optimizer.step()
    return time.process_time() - started


def main() -> None:
    torch.set_num_threads(1)
    features = torch.rand(IMAGES, CHANNELS, SIDE, SIDE)
    labels = torch.arange(IMAGES) % 2
    print("| batch size | head | CPU seconds per epoch | share of PyTorch's |\n|---|---|---|---|")
    for batch in (32, 128):
        epoch(HEADS["tune_bio"], features, labels, batch)
        rounds = [
            {name: epoch(head, features, labels, batch) for name, head in HEADS.items()}
            for _ in range(ROUNDS)
        ]
        medians = {name: statistics.median(times[name] for times in rounds) for name in HEADS}
        for name, seconds in medians.items():
            share = seconds / medians["torch.nn.Dropout"]
            print(f"| {batch} | {name} | {seconds:.3f} | {share:.2f} |")


if __name__ == "__main__":
    main()
