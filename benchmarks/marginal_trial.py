"""The cost of one more trial, with next to nothing to train.

    python benchmarks/marginal_trial.py [--rounds 3]

A tiny network, one epoch on 64 images of 8 px. The whole command runs with few and with many
trials; their difference is divided by the number of additional trials. Plain Ray Tune (a function
trainable, one process per trial) gets fewer trials, because each takes seconds. Both sides take
turns; medians.

Target: at most 0.1 s for tune_bio.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sides import (
    CommandTime,
    plain_ray_tune,
    print_head,
    print_load,
    print_row,
    tune_bio,
    write_npz,
)

SIZE = 8
COUNTS = {"plain Ray Tune": (4, 10), "tune_bio": (10, 50)}


def trivial(count: int) -> list[dict[str, Any]]:
    """Return `count` different configurations."""
    common = {"model": "ann", "width": 16, "epochs": 1}
    return [{**common, "lr": 1e-3 * (1 + number / 1000)} for number in range(count)]


def marginal(command: Callable[[int], CommandTime], few: int, many: int) -> list[float]:
    """Return the seconds of one more trial: on the clock, and of CPU time."""
    short, long = command(few), command(many)
    return [
        (long.seconds - short.seconds) / (many - few),
        (long.cpu_seconds - short.cpu_seconds) / (many - few),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of one more trial.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rounds = 1 if arguments.quick else arguments.rounds
    counts = {name: (1, 3) for name in COUNTS} if arguments.quick else COUNTS
    size = ("--image-size", SIZE)
    print_load()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        data = write_npz(work / "tiny.npz", 64, SIZE, 32)
        costs: dict[str, list[list[float]]] = {name: [] for name in counts}
        for number in range(rounds):

            def plain(count: int, number: int = number) -> CommandTime:
                return plain_ray_tune(work, f"p{number}_{count}", trivial(count), data, *size)[0]

            def ours(count: int, number: int = number) -> CommandTime:
                name = f"t{number}_{count}"
                return tune_bio(work, name, trivial(count), data, *size, cache=f"cache_{name}")[0]

            for name, command in (("plain Ray Tune", plain), ("tune_bio", ours)):
                costs[name].append(marginal(command, *counts[name]))
        print_head("", "trials", "seconds per trial", "CPU seconds per trial", "each round")
        for name, (few, many) in counts.items():
            clock, cpu = (statistics.median(values) for values in zip(*costs[name], strict=True))
            rounds_text = ", ".join(f"{seconds:.3f}" for seconds, _ in costs[name])
            print_row(name, f"{few} and {many}", f"{clock:.3f}", f"{cpu:.3f}", rounds_text)


if __name__ == "__main__":
    main()
