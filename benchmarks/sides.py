"""Shared code of the benchmarks: running commands, measuring their time, printing tables."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

BENCHMARKS = Path(__file__).parent
PEER = BENCHMARKS / "plain_ray_tune.py"
REAL_DATA = "TUNE_BIO_REAL_DATA"
POLL_SECONDS = 0.1
SPACE = """
from tune_bio import SearchSettings, Trial

SETTINGS = SearchSettings(max_epochs={max_epochs}, scheduler="none")


def search_space(trial: Trial) -> None:
    trial.suggest_categorical("model", ["ann"])  # the configurations come from a file
"""


@dataclass(frozen=True)
class CommandTime:
    """The time of a command: on the clock, and CPU time of all its processes.

    The CPU time is read ten times a second, so the last moments of each process are missing.
    """

    seconds: float
    cpu_seconds: float


def run(
    command: Sequence[object], observe: Callable[[psutil.Process], None] = lambda process: None
) -> CommandTime:
    """Run a command to its end and call `observe` on all its processes; exit if it fails."""
    cpu_seconds: dict[int, float] = {}
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        started = psutil.Popen([str(part) for part in command], stdout=output, stderr=output)
        while started.poll() is None:
            for process in _processes(started):
                with suppress(psutil.Error):  # it may end at any moment
                    used = process.cpu_times()
                    cpu_seconds[process.pid] = used.user + used.system
                    observe(process)
            time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - began
        if started.returncode:
            output.seek(0)
            sys.exit(f"{output.read()}\n{' '.join(map(str, command))}: status {started.returncode}")
    return CommandTime(seconds, sum(cpu_seconds.values()))


def _processes(started: psutil.Popen) -> list[psutil.Process]:
    try:
        return [started, *started.children(recursive=True)]
    except psutil.Error:
        return []


def plain_ray_tune(
    work: Path, name: str, configs: Sequence[Mapping[str, Any]], data: Path, *flags: object
) -> tuple[CommandTime, list[dict[str, Any]]]:
    """Run plain Ray Tune on these configurations; return its time and its trials."""
    listed, out = work / f"{name}.json", work / f"{name}_trials.json"
    listed.write_text(json.dumps(configs))
    duration = run(
        [sys.executable, PEER, "--data", data, "--configs", listed, "--out", out, *flags]
    )
    return duration, json.loads(out.read_text())


def tune_bio(
    work: Path,
    name: str,
    configs: Sequence[Mapping[str, Any]],
    data: Path | str,
    *flags: object,
    cache: str = "cache",
    observe: Callable[[psutil.Process], None] = lambda process: None,
    space: str = SPACE,
) -> tuple[CommandTime, Path]:
    """Run tune_bio on these configurations; return its time and the folder of the study.

    Each study has a separate results folder, so that it can reuse nothing but `cache`.
    """
    file, listed = work / f"{name}_space.py", work / f"{name}.json"
    file.write_text(space.format(max_epochs=max(config["epochs"] for config in configs)))
    listed.write_text(json.dumps(configs))
    duration = run(
        [
            sys.executable, "-m", "tune_bio.search", file, "--configs", listed, "--data", data,
            "--name", name, "--results", work / f"results_{name}", "--cache-dir", work / cache,
            "--finalists", 0, "--no-controls", "--missing-weights", "error",
            "--allow-leakage",  # PneumoniaMNIST has copies of some radiographs in two splits
            *flags,
        ],
        observe,
    )  # fmt: skip
    return duration, work / f"results_{name}" / name


def real_data(name: str) -> Path | None:
    """Return the path of a file or folder of the real data, or None without real data."""
    folder = os.environ.get(REAL_DATA)
    return Path(folder, name) if folder else None


def use_torch_home(folder: Path | None) -> None:
    """Make both sides look for published weights in `folder`."""
    if folder is not None:
        os.environ["TORCH_HOME"] = str(folder.absolute())


def write_npz(path: Path, images: int, size: int, val: int | None = None) -> Path:
    """Write grey noise in MedMNIST's layout; one of two classes is brighter in a corner."""
    arrays = {}
    for seed, (split, n) in enumerate(
        {"train": images, "val": val or images // 4, "test": 32}.items()
    ):
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, 200, (n, size, size), dtype=np.uint8)
        labels = np.arange(n) % 2
        pixels[labels == 1, : size // 4, : size // 4] += np.uint8(50)
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = pixels, labels[:, np.newaxis]
    np.savez(path, **arrays)
    return path


def print_row(*cells: object) -> None:
    """Print a row of a Markdown table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def print_head(*columns: str) -> None:
    """Print the head of a Markdown table."""
    print()
    print_row(*columns)
    print_row(*["---"] * len(columns))


def print_load() -> None:
    """Print the load of the machine: on a busy machine, absolute times mean little."""
    print(f"load before: {os.getloadavg()[0]:.2f}", flush=True)
