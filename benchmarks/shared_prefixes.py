"""Trials that differ only in length: one study of all against one study per trial.

    python benchmarks/shared_prefixes.py --data DIR_OR_NPZ [--image-size N]

`epochs` in 10, 20, ... 60 under a StepLR, everything else equal: each run begins with the shorter
ones. One study of all six, and six studies of one configuration each, in separate results and
cache folders. The rows must be the same in all columns except those of time and origin.

Target: 60 epochs trained instead of 210, identical rows, and a third of the training time.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from sides import CommandTime, print_head, print_load, print_row, real_data, tune_bio

from tune_bio.records.tables import read_epochs, read_predictions, read_trials

EPOCHS = (10, 20, 30, 40, 50, 60)
COMMON = {
    "model": "ann", "width": "512-256", "lr": 1e-3, "lr_schedule": "step", "step_size": 15,
    "gamma": 0.3, "seed": 0,
}  # fmt: skip
# Columns about how a row was computed; all other columns are results.
TIMES = ["seconds", "images_per_second"]
ORIGINS = [
    "trial_id", "epochs_trained", "reused_from", "seconds", "seconds_per_epoch", "node",
]  # fmt: skip


def results(folders: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """Concatenate the tables of studies, with the length of a trial as its key."""
    tables: dict[str, list[pd.DataFrame]] = {"trials": [], "epochs": [], "predictions": []}
    for folder in folders:
        trials = read_trials(folder)
        length = trials.set_index("trial_id")["params.epochs"]
        tables["trials"].append(trials)
        epochs = read_epochs(folder)
        tables["epochs"].append(epochs.assign(length=epochs["trial_id"].map(length)))
        predictions = read_predictions(folder)
        tables["predictions"].append(predictions.assign(length=predictions["trial"].map(length)))
    joined = {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}
    order = {
        "trials": ["params.epochs"], "epochs": ["length", "epoch"],
        "predictions": ["length", "split", "image"],
    }  # fmt: skip
    return {
        name: table.sort_values(order[name], ignore_index=True) for name, table in joined.items()
    }


def training_seconds(tables: dict[str, pd.DataFrame]) -> float:
    """Return the seconds of the epochs that were trained, as measured in the trials."""
    total = 0.0
    for _, trial in tables["trials"].iterrows():
        curve = tables["epochs"][tables["epochs"]["length"] == trial["params.epochs"]]
        if trial["epochs_trained"]:
            total += float(curve["seconds"].tail(int(trial["epochs_trained"])).sum())
    return total


def differences(shared: dict[str, pd.DataFrame], separate: dict[str, pd.DataFrame]) -> list[str]:
    """Return the columns that differ, as TABLE.COLUMN."""
    differing = []
    ignored = {"trials": ORIGINS, "epochs": ["trial_id", *TIMES], "predictions": ["trial"]}
    for name, columns in ignored.items():
        a, b = (
            tables[name].drop(columns=columns, errors="ignore") for tables in (shared, separate)
        )
        if a.shape != b.shape:
            differing.append(f"{name} ({len(a)} and {len(b)} rows)")
            continue
        differing += [f"{name}.{column}" for column in a if not a[column].equals(b[column])]
    return differing


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Trials with shared first epochs.")
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
    print_load()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        shared_time, study = tune_bio(work, "together", configs, arguments.data, *flags)
        runs = [
            tune_bio(
                work, f"apart{config['epochs']}", [config], arguments.data, *flags,
                cache=f"cache{config['epochs']}",
            )
            for config in configs
        ]  # fmt: skip
        shared, separate = results([study]), results([folder for _, folder in runs])
        _print_table(shared, shared_time, separate, [duration for duration, _ in runs])
        differing = differences(shared, separate)
    print(f"\nrows: {'identical' if not differing else 'DIFFERENT in ' + ', '.join(differing)}")
    sys.exit(bool(differing))


def _print_table(
    shared: dict[str, pd.DataFrame],
    shared_time: CommandTime,
    separate: dict[str, pd.DataFrame],
    separate_times: Sequence[CommandTime],
) -> None:
    print_head("", "epochs trained", "training seconds", "ratio", "CPU seconds of all processes")
    reference = training_seconds(separate)
    cpu_seconds = sum(duration.cpu_seconds for duration in separate_times)
    for name, tables, used in (
        ("six studies", separate, cpu_seconds),
        ("one study", shared, shared_time.cpu_seconds),
    ):
        trained, seconds = int(tables["trials"]["epochs_trained"].sum()), training_seconds(tables)
        print_row(name, trained, f"{seconds:.1f}", f"{reference / seconds:.2f}", f"{used:.1f}")


if __name__ == "__main__":
    main()
