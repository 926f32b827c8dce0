"""What torch.compile does to a training step on this CPU, and how soon it would pay.

    python benchmarks/compiling.py [--rounds 5]

Networks in channels_last, batches of 32 at 64 px, one thread. "First" is the first step of a
compiled network, with an empty cache of compiled code; "again" the same in the next trial, which
finds that code. What is left once a step is faster decides after how many images it has paid, in
that next trial; validation would be compiled on top of it.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
from memory_format import BATCH, STEPS, seconds, training_step
from sides import head, row, tell_load

MODELS = ("resnet18", "squeezenet1_0", "cnn")


def timed(step: Callable[[], None]) -> float:
    """Seconds of one step."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def compiled_step(name: str) -> tuple[Callable[[], None], float]:
    """A step of a compiled network, and what the first one took."""
    torch.compiler.reset()
    step = training_step(name, torch.channels_last, compiled=True)
    return step, timed(step)


def paid_after(begun: float, plain: float, compiled: float) -> str:
    """Images until what was won by then is what the beginning cost; seconds a step each."""
    if compiled >= plain:
        return "never"
    return f"{begun / (plain - compiled) * BATCH:,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="torch.compile, and how soon it pays.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rounds, models = (1, MODELS[-1:]) if arguments.quick else (arguments.rounds, MODELS)
    torch.set_num_threads(1)
    tell_load()
    head("model", "first step, s", "again, s", "a plain step, s", "speed", "paid after images")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        for name in models:
            plain = training_step(name, torch.channels_last)
            plain()
            _, first = compiled_step(name)
            compiled, again = compiled_step(name)
            # They take turns, so that a slow moment of the machine hits both.
            pairs = [(seconds(plain), seconds(compiled)) for _ in range(rounds)]
            before, after = (statistics.median(c) / STEPS for c in zip(*pairs, strict=True))
            row(
                name, f"{first:.1f}", f"{again:.1f}", f"{before:.3f}", f"{before / after:.2f}",
                paid_after(again, before, after),
            )  # fmt: skip


if __name__ == "__main__":
    main()
