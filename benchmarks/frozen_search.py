"""Search over a frozen backbone: tune_bio against plain Ray Tune, on the same work in one run.

    python benchmarks/frozen_search.py --data pneumoniamnist.npz --torch-home DIR [--many]

Eight configurations of a SqueezeNet with ImageNet weights, its backbone frozen, 5 epochs at 64 px.
Whole commands: plain Ray Tune; tune_bio with an empty cache; tune_bio with the cache of that run
and another results folder, so that it can reuse the features but no checkpoint. tune_bio's commands
are short and therefore vary more: each is run `--repeats` times, and the median counts. `--many`
adds 32 configurations of 20 epochs with an empty cache. Plain Ray Tune is not run on them: its time
is extrapolated from its seconds per trial and per epoch in the first run.

Target: 12 times as fast with an empty cache, 15 times with a warm one, 40 times with `--many`, and
a best accuracy that is at most a point lower.
"""

import argparse
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sides import (
    CommandTime,
    plain_ray_tune,
    print_head,
    print_load,
    print_row,
    real_data,
    tune_bio,
    use_torch_home,
)

from tune_bio.records.tables import read_trials

COMMON = {
    "model": "squeezenet1_0", "weights": "imagenet", "freeze": "backbone",
    "lr_schedule": "cosine", "seed": 0,
}  # fmt: skip
BATCH_SIZES, AT_ONCE = (32, 128), 2
FEW = {"lr": (1e-3, 1e-2), "dropout": (0.2, 0.6)}
MANY = {"lr": (3e-4, 1e-3, 3e-3, 1e-2), "dropout": (0.0, 0.2, 0.4, 0.6)}
EPOCHS, MANY_EPOCHS = 5, 20
Configs = list[dict[str, Any]]


def grid(choices: dict[str, tuple[float, ...]], epochs: int) -> Configs:
    """Return every combination of a batch size and the choices."""
    names = ("batch_size", *choices)
    return [
        {**COMMON, **dict(zip(names, values, strict=True)), "epochs": epochs}
        for values in itertools.product(BATCH_SIZES, *choices.values())
    ]


def extrapolate(
    seconds: float, trials: Sequence[dict[str, Any]], configs: Configs
) -> tuple[float, str]:
    """Estimate the seconds of plain Ray Tune on `configs` from its time for `trials`."""
    training = sum(trial["seconds"] for trial in trials) / AT_ONCE
    epoch = training / sum(trial["epochs"] for trial in trials)
    overhead = (seconds - training) / len(trials)
    epochs = sum(config["epochs"] for config in configs)
    formula = f"{len(configs)} trials x {overhead:.2f} s + {epochs} epochs x {epoch:.2f} s"
    return len(configs) * overhead + epochs * epoch, formula


def few_images(data: Path, to: Path) -> Path:
    """Write every 25th image of each split to `to`; both classes are still present."""
    with np.load(data) as arrays:
        np.savez(to, **{name: arrays[name][::25] for name in arrays.files})
    return to


def _print_median(name: str, work: str, runs: list[tuple[CommandTime, Path]], plain: float) -> None:
    """Print the run of median time, with the shortest and the longest time."""
    ordered = sorted(runs, key=lambda run: run[0].seconds)
    median, results = ordered[(len(ordered) - 1) // 2]
    seconds, span = f"{median.seconds:.1f}", [f"{time.seconds:.1f}" for time, _ in ordered]
    if len(ordered) > 1:
        seconds += f" ({span[0]} to {span[-1]})"
    best = float(read_trials(results)["best_val_accuracy"].max())
    ratio = f"{plain / median.seconds:.1f}"
    print_row(name, work, seconds, ratio, f"{median.cpu_seconds:.1f}", f"{best:.4f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Frozen backbones, against plain Ray Tune.")
    parser.add_argument("--data", type=Path, default=real_data("pneumoniamnist_dev.npz"))
    parser.add_argument(
        "--torch-home", type=Path, default=real_data("torch_home"), help="folder of torch.hub"
    )
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument(
        "--repeats", type=int, default=3, help="runs of each of tune_bio's commands"
    )
    parser.add_argument("--many", action="store_true", help="add 32 configurations of 20 epochs")
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("give --data, an npz in MedMNIST's layout")
    return arguments


def main() -> None:
    arguments = _arguments()
    use_torch_home(arguments.torch_home)
    few, many = grid(FEW, EPOCHS), grid(MANY, MANY_EPOCHS)
    if arguments.quick:
        arguments.repeats = 1
        few, many = ([{**config, "epochs": 1} for config in configs[:2]] for configs in (few, many))
    size = ("--image-size", arguments.image_size)
    print_load()
    with tempfile.TemporaryDirectory() as folder:
        work, data = Path(folder), arguments.data
        if arguments.quick:
            data = few_images(data, work / "few.npz")
        plain, trials = plain_ray_tune(work, "plain", few, data, *size)
        cold, warm = [
            [
                tune_bio(work, f"{name}_{k}", few, data, *size, cache=cache.format(k))
                for k in range(arguments.repeats)
            ]
            for name, cache in (("cold", "cache_{}"), ("warm", "cache_0"))
        ]
        print_head(
            "command", "trials x epochs", "seconds", "times as fast", "CPU seconds", "best accuracy"
        )
        trials_text, best = (
            f"{len(few)} x {few[0]['epochs']}",
            max(t["val_accuracy"] for t in trials),
        )
        print_row(
            "plain Ray Tune", trials_text, f"{plain.seconds:.1f}", "1", f"{plain.cpu_seconds:.1f}",
            f"{best:.4f}",
        )  # fmt: skip
        _print_median("tune_bio, empty cache", trials_text, cold, plain.seconds)
        _print_median("tune_bio, warm cache", trials_text, warm, plain.seconds)
        if arguments.many:
            seconds, formula = extrapolate(plain.seconds, trials, many)
            run = tune_bio(work, "many", many, data, *size, cache="other_cache")
            trials_text = f"{len(many)} x {many[0]['epochs']}"
            print_row("plain Ray Tune, multiplied", trials_text, f"{seconds:.0f}", "1", "", "")
            _print_median("tune_bio, empty cache", trials_text, [run], seconds)
            print(f"\nmultiplied: {formula}")


if __name__ == "__main__":
    main()
