"""Trials that differ in their length alone: one study against a study each.

    python benchmarks/shared_prefixes.py --data DIR_OR_NPZ [--image-size N]

`epochs` in 10, 20, ... 60 under a StepLR, everything else equal: each run begins with the shorter
ones. One study of all six, and six studies of one configuration each, in separate results and
cache folders. The rows must be the same in all columns but those that tell of time and reuse.

Wanted: 60 epochs trained and not 210, identical rows, and a third of the training time.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from sides import Ran, head, real_data, row, tell_load, tune_bio

from tune_bio.records.tables import read_epochs, read_predictions, read_trials

EPOCHS = (10, 20, 30, 40, 50, 60)
COMMON = {
    "model": "ann", "width": "512-256", "lr": 1e-3, "lr_schedule": "step", "step_size": 15,
    "gamma": 0.3, "seed": 0,
}  # fmt: skip
# Of how it was computed; everything else is a result.
TIMES = ["seconds", "images_per_second"]
ORIGINS = [
    "trial_id", "epochs_trained", "reused_from", "seconds", "seconds_per_epoch", "node",
]  # fmt: skip


def results(folders: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """The tables of studies as one, trials told apart by their length."""
    tables: dict[str, list[pd.DataFrame]] = {"trials": [], "epochs": [], "predictions": []}
    for folder in folders:
        trials = read_trials(folder)
        length = trials.set_index("trial_id")["params.epochs"]
        tables["trials"].append(trials)
        epochs = read_epochs(folder)
        tables["epochs"].append(epochs.assign(length=epochs["trial_id"].map(length)))
        told = read_predictions(folder)
        tables["predictions"].append(told.assign(length=told["trial"].map(length)))
    joined = {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}
    order = {
        "trials": ["params.epochs"], "epochs": ["length", "epoch"],
        "predictions": ["length", "split", "image"],
    }  # fmt: skip
    return {
        name: table.sort_values(order[name], ignore_index=True) for name, table in joined.items()
    }


def training_seconds(tables: dict[str, pd.DataFrame]) -> float:
    """Seconds of the epochs that were trained, as the trials measured them: a thread each."""
    total = 0.0
    for _, trial in tables["trials"].iterrows():
        curve = tables["epochs"][tables["epochs"]["length"] == trial["params.epochs"]]
        if trial["epochs_trained"]:
            total += float(curve["seconds"].tail(int(trial["epochs_trained"])).sum())
    return total


def differences(one: dict[str, pd.DataFrame], six: dict[str, pd.DataFrame]) -> list[str]:
    """Columns that differ, as TABLE.COLUMN."""
    found = []
    left_out = {"trials": ORIGINS, "epochs": ["trial_id", *TIMES], "predictions": ["trial"]}
    for name, columns in left_out.items():
        a, b = (tables[name].drop(columns=columns, errors="ignore") for tables in (one, six))
        if a.shape != b.shape:
            found.append(f"{name} ({len(a)} and {len(b)} rows)")
            continue
        found += [f"{name}.{column}" for column in a if not a[column].equals(b[column])]
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Trials that begin alike.")
    parser.add_argument("--data", type=Path, default=real_data("pneumoniamnist_dev.npz"))
    parser.add_argument("--image-size", type=int, default=28)
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("give --data, a folder of images or an npz")
    return arguments


def main() -> None:
    arguments = _arguments()
    lengths = (1, 2) if arguments.quick else EPOCHS
    configs = [{**COMMON, "epochs": length} for length in lengths]
    flags = ("--image-size", arguments.image_size, "--max-epochs", max(lengths))
    tell_load()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        together, study = tune_bio(work, "together", configs, arguments.data, *flags)
        apart = [
            tune_bio(
                work, f"apart{config['epochs']}", [config], arguments.data, *flags,
                cache=f"cache{config['epochs']}",
            )
            for config in configs
        ]  # fmt: skip
        one, six = results([study]), results([folder for _, folder in apart])
        _tell(one, together, six, [ran for ran, _ in apart])
        different = differences(one, six)
    print(f"\nrows: {'identical' if not different else 'DIFFERENT in ' + ', '.join(different)}")
    sys.exit(bool(different))


def _tell(
    one: dict[str, pd.DataFrame],
    together: Ran,
    six: dict[str, pd.DataFrame],
    apart: Sequence[Ran],
) -> None:
    head("", "epochs trained", "training seconds", "ratio", "CPU seconds of all processes")
    reference = training_seconds(six)
    computed = sum(ran.computed for ran in apart)
    for name, tables, used in (
        ("a study each", six, computed),
        ("one study", one, together.computed),
    ):
        trained, seconds = int(tables["trials"]["epochs_trained"].sum()), training_seconds(tables)
        row(name, trained, f"{seconds:.1f}", f"{reference / seconds:.2f}", f"{used:.1f}")


if __name__ == "__main__":
    main()
