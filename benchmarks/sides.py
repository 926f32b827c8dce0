"""What the benchmarks that compare two sides share: commands, their time, and tables."""

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
LOOK_SECONDS = 0.1
SPACE = """
from tune_bio import SearchSettings, Trial

SETTINGS = SearchSettings(max_epochs={max_epochs}, scheduler="none")


def search_space(trial: Trial) -> None:
    trial.suggest_categorical("model", ["ann"])  # the configurations are listed
"""


@dataclass(frozen=True)
class Ran:
    """Seconds of a command: on the clock, and of CPU in all of its processes.

    The CPU's are looked up ten times a second, so a process's last moments are missing.
    """

    seconds: float
    computed: float


def run(
    command: Sequence[object], look: Callable[[psutil.Process], None] = lambda process: None
) -> Ran:
    """Run a command to its end, with a look at all of its processes; exits where it fails."""
    computed: dict[int, float] = {}
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as told:
        started = psutil.Popen([str(part) for part in command], stdout=told, stderr=told)
        while started.poll() is None:
            for process in _processes(started):
                with suppress(psutil.Error):  # it may end at any moment
                    used = process.cpu_times()
                    computed[process.pid] = used.user + used.system
                    look(process)
            time.sleep(LOOK_SECONDS)
        seconds = time.perf_counter() - began
        if started.returncode:
            told.seek(0)
            sys.exit(f"{told.read()}\n{' '.join(map(str, command))}: status {started.returncode}")
    return Ran(seconds, sum(computed.values()))


def _processes(started: psutil.Popen) -> list[psutil.Process]:
    try:
        return [started, *started.children(recursive=True)]
    except psutil.Error:
        return []


def plain_ray_tune(
    work: Path, name: str, configs: Sequence[Mapping[str, Any]], data: Path, *flags: object
) -> tuple[Ran, list[dict[str, Any]]]:
    """The peer on these configurations: its time, and its trials."""
    listed, out = work / f"{name}.json", work / f"{name}_found.json"
    listed.write_text(json.dumps(configs))
    ran = run([sys.executable, PEER, "--data", data, "--configs", listed, "--out", out, *flags])
    return ran, json.loads(out.read_text())


def tune_bio(
    work: Path,
    name: str,
    configs: Sequence[Mapping[str, Any]],
    data: Path | str,
    *flags: object,
    cache: str = "cache",
    look: Callable[[psutil.Process], None] = lambda process: None,
    space: str = SPACE,
) -> tuple[Ran, Path]:
    """The command on these configurations: its time, and the folder of its results.

    Each study has a results folder of its own, so that it finds nothing of another but in `cache`.
    """
    file, listed = work / f"{name}_space.py", work / f"{name}.json"
    file.write_text(space.format(max_epochs=max(config["epochs"] for config in configs)))
    listed.write_text(json.dumps(configs))
    ran = run(
        [
            sys.executable, "-m", "tune_bio.search", file, "--configs", listed, "--data", data,
            "--name", name, "--results", work / f"results_{name}", "--cache-dir", work / cache,
            "--finalists", 0, "--no-controls", "--missing-weights", "error",
            "--allow-leakage",  # PneumoniaMNIST holds copies of some radiographs in two splits
            *flags,
        ],
        look,
    )  # fmt: skip
    return ran, work / f"results_{name}" / name


def real_data(name: str) -> Path | None:
    """A file or folder of the real data, where there are any."""
    folder = os.environ.get(REAL_DATA)
    return Path(folder, name) if folder else None


def use_torch_home(folder: Path | None) -> None:
    """Let both sides look for published weights there."""
    if folder is not None:
        os.environ["TORCH_HOME"] = str(folder.absolute())


def write_npz(path: Path, images: int, size: int, val: int | None = None) -> Path:
    """Grey noise of two classes in MedMNIST's layout, one of them brighter in a corner."""
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


def row(*cells: object) -> None:
    """A row of a Markdown table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def head(*columns: str) -> None:
    """The head of a Markdown table."""
    print()
    row(*columns)
    row(*["---"] * len(columns))


def tell_load() -> None:
    """The machine's load: on a busy one, absolute seconds mean little."""
    print(f"load before: {os.getloadavg()[0]:.2f}", flush=True)
