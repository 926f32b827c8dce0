"""A search over a frozen backbone: tune_bio against plain Ray Tune, on the same work in one run.

    python benchmarks/frozen_search.py --data pneumoniamnist.npz --torch-home DIR [--many]

Eight configurations of a SqueezeNet with ImageNet weights, its backbone frozen, 5 epochs at 64 px.
Whole commands: plain Ray Tune; tune_bio with an empty cache; tune_bio with the cache that this
left, in another results folder, so that only features are found and no checkpoint.
tune_bio's commands are short, so that a machine's moods weigh more on them: each is run `--repeats`
times, and the median counts. `--many` adds 32 configurations of 20 epochs with an empty cache.
Plain Ray Tune is not run on them: its time is what it took here, per trial and per epoch,
multiplied.

Wanted: 12 times as fast with an empty cache, 15 times with a warm one, 40 times with `--many`, and
a best accuracy that is at most a point lower.
"""

import argparse
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sides import Ran, head, plain_ray_tune, real_data, row, tell_load, tune_bio, use_torch_home

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
    """Every combination of a batch size and the choices."""
    names = ("batch_size", *choices)
    return [
        {**COMMON, **dict(zip(names, values, strict=True)), "epochs": epochs}
        for values in itertools.product(BATCH_SIZES, *choices.values())
    ]


def extrapolate(
    seconds: float, trials: Sequence[dict[str, Any]], configs: Configs
) -> tuple[float, str]:
    """Seconds of plain Ray Tune on other configurations, from what it took on `trials`."""
    inside = sum(trial["seconds"] for trial in trials) / AT_ONCE
    epoch = inside / sum(trial["epochs"] for trial in trials)
    apart = (seconds - inside) / len(trials)
    epochs = sum(config["epochs"] for config in configs)
    told = f"{len(configs)} trials x {apart:.2f} s + {epochs} epochs x {epoch:.2f} s"
    return len(configs) * apart + epochs * epoch, told


def few_images(data: Path, to: Path) -> Path:
    """Every 25th image of each split: both classes are in them."""
    with np.load(data) as arrays:
        np.savez(to, **{name: arrays[name][::25] for name in arrays.files})
    return to


def _tell(name: str, work: str, runs: list[tuple[Ran, Path]], plain: float) -> None:
    """The run of the median time, with the shortest and the longest."""
    ordered = sorted(runs, key=lambda one: one[0].seconds)
    ran, results = ordered[(len(ordered) - 1) // 2]
    seconds, span = f"{ran.seconds:.1f}", [f"{one.seconds:.1f}" for one, _ in ordered]
    if len(ordered) > 1:
        seconds += f" ({span[0]} to {span[-1]})"
    best = float(read_trials(results)["best_val_accuracy"].max())
    ratio = f"{plain / ran.seconds:.1f}"
    row(name, work, seconds, ratio, f"{ran.computed:.1f}", f"{best:.4f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Frozen backbones, against plain Ray Tune.")
    parser.add_argument("--data", type=Path, default=real_data("pneumoniamnist_dev.npz"))
    parser.add_argument(
        "--torch-home", type=Path, default=real_data("torch_home"), help="where torch.hub looks"
    )
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3, help="of each of tune_bio's commands")
    parser.add_argument("--many", action="store_true", help="32 configurations of 20 epochs too")
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
        few, many = ([{**config, "epochs": 1} for config in some[:2]] for some in (few, many))
    size = ("--image-size", arguments.image_size)
    tell_load()
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
        head(
            "command", "trials x epochs", "seconds", "times as fast", "CPU seconds", "best accuracy"
        )
        told, best = f"{len(few)} x {few[0]['epochs']}", max(t["val_accuracy"] for t in trials)
        row(
            "plain Ray Tune", told, f"{plain.seconds:.1f}", "1", f"{plain.computed:.1f}",
            f"{best:.4f}",
        )  # fmt: skip
        _tell("tune_bio, empty cache", told, cold, plain.seconds)
        _tell("tune_bio, warm cache", told, warm, plain.seconds)
        if arguments.many:
            seconds, how = extrapolate(plain.seconds, trials, many)
            ran = tune_bio(work, "many", many, data, *size, cache="other_cache")
            told = f"{len(many)} x {many[0]['epochs']}"
            row("plain Ray Tune, multiplied", told, f"{seconds:.0f}", "1", "", "")
            _tell("tune_bio, empty cache", told, [ran], seconds)
            print(f"\nmultiplied: {how}")


if __name__ == "__main__":
    main()
