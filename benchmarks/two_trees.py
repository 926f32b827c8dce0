"""The same commands on two checkouts of tune_bio, in turns: is the second one slower?

    python benchmarks/two_trees.py BEFORE [--after AFTER] [--rounds 3] --data pneumoniamnist.npz
        --torch-home DIR

Four commands: the frozen search of `frozen_search.py` with an empty and with a warm cache; the
marginal trial of `marginal_trial.py` (50 trials less 10); the six lengths of `shared_prefixes.py`
as one study. Both trees run in this environment; medians of whole commands.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frozen_search import EPOCHS, FEW, few_images, grid
from marginal_trial import SIZE, trivial
from shared_prefixes import COMMON as PREFIX
from shared_prefixes import EPOCHS as LENGTHS
from sides import (
    BENCHMARKS,
    print_head,
    print_load,
    print_row,
    real_data,
    tune_bio,
    use_torch_home,
    write_npz,
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Two checkouts of tune_bio, in turns.")
    parser.add_argument("before", type=Path)
    parser.add_argument("--after", type=Path, default=BENCHMARKS.parent)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=real_data("pneumoniamnist_dev.npz"))
    parser.add_argument("--torch-home", type=Path, default=real_data("torch_home"))
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("give --data, an npz in MedMNIST's layout")
    return arguments


def measure(work: Path, name: str, data: Path, tiny: Path, *, quick: bool) -> dict[str, float]:
    """Run the four commands once; return their seconds."""
    frozen = grid(FEW, 1 if quick else EPOCHS)[: 2 if quick else None]
    lengths = (1, 2) if quick else LENGTHS
    prefixes = [{**PREFIX, "epochs": length} for length in lengths]
    few, many = (1, 3) if quick else (10, 50)

    def seconds(kind: str, *arguments: Any, cache: str | None = None) -> float:
        label = f"{name}_{kind}"
        return tune_bio(work, label, *arguments, cache=cache or f"cache_{label}")[0].seconds

    cold = seconds("cold", frozen, data, "--image-size", 64)
    warm = seconds("warm", frozen, data, "--image-size", 64, cache=f"cache_{name}_cold")
    short, long = (
        seconds(f"trials{count}", trivial(count), tiny, "--image-size", SIZE)
        for count in (few, many)
    )
    together = seconds("prefixes", prefixes, data, "--image-size", 28, "--max-epochs", max(lengths))
    return {
        "frozen search, empty cache": cold,
        "frozen search, warm cache": warm,
        "one more trial": (long - short) / (many - few),
        "six lengths, one study": together,
    }


def main() -> None:
    arguments = _arguments()
    use_torch_home(arguments.torch_home)
    trees = {"before": arguments.before.resolve(), "after": arguments.after.resolve()}
    times: dict[str, list[dict[str, float]]] = {name: [] for name in trees}
    print_load()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        data = few_images(arguments.data, work / "few.npz") if arguments.quick else arguments.data
        tiny = write_npz(work / "tiny.npz", 64, SIZE, 32)
        for number in range(1 if arguments.quick else arguments.rounds):
            for name, tree in trees.items():
                with _running_from(tree):
                    run = measure(work, f"{name}{number}", data, tiny, quick=arguments.quick)
                times[name].append(run)
    print_head("command", "before (s)", "after (s)", "after / before")
    for command in times["before"][0]:
        before, after = (
            statistics.median(run[command] for run in times[name]) for name in ("before", "after")
        )
        print_row(command, f"{before:.2f}", f"{after:.2f}", f"{after / before:.2f}")


@contextmanager
def _running_from(tree: Path) -> Iterator[None]:
    """Let commands import tune_bio from a checkout: it comes first on Python's path."""
    path, folder = os.environ.get("PYTHONPATH"), Path.cwd()
    os.environ["PYTHONPATH"] = str(tree)
    os.chdir(tree)
    try:
        yield
    finally:
        os.chdir(folder)
        os.environ.pop("PYTHONPATH")
        if path is not None:
            os.environ["PYTHONPATH"] = path


if __name__ == "__main__":
    main()
