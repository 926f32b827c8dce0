"""What one more trial costs where there is next to nothing to train.

    python benchmarks/marginal_trial.py [--rounds 3]

A tiny network, one epoch on 64 images of 8 px. The whole command with few and with many trials;
their difference over the number of further trials. Plain Ray Tune (a function trainable, a process
each) gets fewer, since each takes seconds. Both sides take turns; medians.

Wanted: at most 0.1 s for tune_bio.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sides import Ran, head, plain_ray_tune, row, tell_load, tune_bio, write_npz

SIZE = 8
COUNTS = {"plain Ray Tune": (4, 10), "tune_bio": (10, 50)}


def trivial(count: int) -> list[dict[str, Any]]:
    """So many configurations, each another one."""
    common = {"model": "ann", "width": 16, "epochs": 1}
    return [{**common, "lr": 1e-3 * (1 + number / 1000)} for number in range(count)]


def marginal(command: Callable[[int], Ran], few: int, many: int) -> list[float]:
    """Seconds of one more trial: on the clock, and of CPU."""
    less, more = command(few), command(many)
    return [
        (more.seconds - less.seconds) / (many - few),
        (more.computed - less.computed) / (many - few),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of one more trial.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rounds = 1 if arguments.quick else arguments.rounds
    counts = {name: (1, 3) for name in COUNTS} if arguments.quick else COUNTS
    size = ("--image-size", SIZE)
    tell_load()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        data = write_npz(work / "tiny.npz", 64, SIZE, 32)
        found: dict[str, list[list[float]]] = {name: [] for name in counts}
        for number in range(rounds):

            def plain(count: int, number: int = number) -> Ran:
                return plain_ray_tune(work, f"p{number}_{count}", trivial(count), data, *size)[0]

            def ours(count: int, number: int = number) -> Ran:
                name = f"t{number}_{count}"
                return tune_bio(work, name, trivial(count), data, *size, cache=f"cache_{name}")[0]

            for name, command in (("plain Ray Tune", plain), ("tune_bio", ours)):
                found[name].append(marginal(command, *counts[name]))
        head("", "trials", "seconds a trial", "CPU seconds a trial", "each round")
        for name, (few, many) in counts.items():
            clock, computed = (statistics.median(side) for side in zip(*found[name], strict=True))
            each = ", ".join(f"{seconds:.3f}" for seconds, _ in found[name])
            row(name, f"{few} and {many}", f"{clock:.3f}", f"{computed:.3f}", each)


if __name__ == "__main__":
    main()
