"""Speed of a training step with torch.compile on this CPU, and when compiling pays off.

    python benchmarks/compiling.py [--rounds 5]

Networks in channels_last, batches of 32 at 64 px, one thread. "First step" is the first step of a
compiled network with an empty cache of compiled code; "again" is the first step of the next trial,
which finds that code. The last column is the number of images after which the faster steps of the
next trial have paid for its first step; validation would have to be compiled as well.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
from memory_format import BATCH, STEPS, seconds, training_step
from sides import print_head, print_load, print_row

MODELS = ("resnet18", "squeezenet1_0", "cnn")


def timed(step: Callable[[], None]) -> float:
    """Return the seconds of one step."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def compiled_step(name: str) -> tuple[Callable[[], None], float]:
    """Return a step of a compiled network, and the seconds of the first call."""
    torch.compiler.reset()
    step = training_step(name, torch.channels_last, compiled=True)
    return step, timed(step)


def paid_after(first: float, plain: float, compiled: float) -> str:
    """Return the number of images after which compiling pays off; arguments in s per step."""
    if compiled >= plain:
        return "never"
    return f"{first / (plain - compiled) * BATCH:,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of torch.compile, and when it pays off.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rounds, models = (1, MODELS[-1:]) if arguments.quick else (arguments.rounds, MODELS)
    torch.set_num_threads(1)
    print_load()
    print_head(
        "model", "first step, s", "again, s", "a plain step, s", "speed", "paid after images"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        for name in models:
            plain = training_step(name, torch.channels_last)
            plain()
            _, first = compiled_step(name)
            compiled, again = compiled_step(name)
            # They take turns, so that a slow moment of the machine affects both.
            pairs = [(seconds(plain), seconds(compiled)) for _ in range(rounds)]
            before, after = (
                statistics.median(values) / STEPS for values in zip(*pairs, strict=True)
            )
            print_row(
                name, f"{first:.1f}", f"{again:.1f}", f"{before:.3f}", f"{before / after:.2f}",
                paid_after(again, before, after),
            )  # fmt: skip


if __name__ == "__main__":
    main()
