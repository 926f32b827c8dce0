"""Start of a search on 20,000 image files: time to the first trial, and memory of a trial.

    python benchmarks/many_images.py [--images N] [--folder DIR]

Runs the command twice, the second time with all images already decoded; then both runs again with
splits that are kept in files, like splits that are too large for memory. Linux only.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from sides import print_head, print_row

from tune_bio.datasets.decoding.parallel import map_in_order

SIDE = 64
CLASSES = ("ill", "well")
MIB = 2**20
KINDS = {False: "in memory", True: "in files"}  # by whether the splits are mapped
TRIAL_TITLES = ("ray::TrialActor", "ray::ResourceTrainable")  # names of Ray's workers
POLL_SECONDS = 0.05
MEASURE_SECONDS = 0.5  # expensive: the kernel walks through all pages of a process

# A search-space file is code that runs in the command's own process, so it can count calls.
SPACE = """
import atexit, json, resource
from pathlib import Path

from tune_bio import SearchSettings, Trial
from tune_bio.datasets.cache import arrays
from tune_bio.datasets.sources import file_source

SETTINGS = SearchSettings(num_trials=2, max_epochs=1, scheduler="none")
MAPPED, OUTPUT = {mapped}, Path({output!r})
decode, decoded = file_source.decode, []


def counted(data, name):
    decoded.append(name)
    return decode(data, name)


def write_counts():
    used = resource.getrusage(resource.RUSAGE_SELF)
    counts = {{"decoded": len(decoded), "driver": used.ru_maxrss * 1024}}
    OUTPUT.write_text(json.dumps({{**counts, "cpu_seconds": used.ru_utime + used.ru_stime}}))


file_source.decode = counted
atexit.register(write_counts)
if MAPPED:
    arrays.LARGE = 0


def search_space(trial: Trial) -> None:
    trial.suggest_categorical("model", ["cnn"])
    trial.suggest_categorical("width", [8])
    trial.suggest_float("lr", 1e-4, 1e-2, log=True)
"""


@dataclass(frozen=True)
class Memory:
    """Bytes of a process: resident, private, and private plus its part of shared memory."""

    rss: int = 0
    uss: int = 0
    pss: int = 0


@dataclass
class Start:
    """Measurements of one run of the command; `trials` maps process ids to memory."""

    seconds: float = 0.0  # until the first trial starts
    cpu_seconds: float = 0.0  # of the whole command; a busy machine changes it less
    decoded: int = 0
    driver: int = 0
    trials: dict[int, Memory] = field(default_factory=dict)


def make_images(folder: Path, images: int) -> None:
    """Write grey noise with a brighter corner in one class; two images per patient."""
    for name in CLASSES:
        (folder / name).mkdir(parents=True, exist_ok=True)

    def make(number: int) -> None:
        rng = np.random.default_rng(number)
        label = number // 2 % 2
        pixels = rng.integers(0, 200, (SIDE, SIDE), dtype=np.uint8)
        pixels[:16, :16] += np.uint8(50 * label)
        path = folder / CLASSES[label] / f"p{number // 2:06d}-{number % 2}.png"
        Image.fromarray(pixels).save(path, compress_level=1)

    for _ in map_in_order(make, range(images)):
        pass


def start(data: Path, work: Path, name: str, *, mapped: bool) -> Start:
    """Run the command to its end and measure it from outside."""
    space, output = work / f"{name}.py", work / f"{name}.json"
    space.write_text(SPACE.format(mapped=mapped, output=str(output)))
    checkpoints = work / "results" / name / "checkpoints"
    result, began, measured = Start(), time.perf_counter(), 0.0
    with psutil.Popen(_command(space, data, work, name, mapped=mapped)) as command:
        while command.poll() is None:
            now = time.perf_counter() - began
            if not result.seconds and any(
                checkpoints.glob("*")
            ):  # a trial creates its folder first
                result.seconds = now
            if result.seconds and now - measured > MEASURE_SECONDS:
                measured = now
                _measure(command, result.trials)
            time.sleep(POLL_SECONDS)
    if command.returncode:
        sys.exit(command.returncode)
    counts = json.loads(output.read_text())
    result.decoded, result.driver = counts["decoded"], counts["driver"]
    result.cpu_seconds = counts["cpu_seconds"]
    return result


def _command(space: Path, data: Path, work: Path, name: str, *, mapped: bool) -> list[str]:
    return [
        sys.executable, "-m", "tune_bio.search", str(space), "--data", str(data),
        "--name", name, "--results", str(work / "results"), "--patient-pattern", r"(p\d+)-",
        "--cache-dir", str(_cache(work, mapped=mapped)), "--finalists", "0", "--no-controls",
        "--quiet",
    ]  # fmt: skip


def _cache(work: Path, *, mapped: bool) -> Path:
    return work / ("cache_mapped" if mapped else "cache")


def _measure(command: psutil.Popen, trials: dict[int, Memory]) -> None:
    """Record the memory of each trial process that is larger than before."""
    for process in command.children(recursive=True):
        with suppress(psutil.Error):  # it may end at any moment
            if not "".join(process.cmdline()).startswith(TRIAL_TITLES):
                continue
            info = process.memory_full_info()
            if info.rss > trials.get(process.pid, Memory()).rss:
                trials[process.pid] = Memory(info.rss, info.uss, info.pss)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _print_starts(kind: str, starts: Sequence[Start], cache: int) -> None:
    for number, run in enumerate(starts, start=1):
        print_row(
            kind, number, f"{run.seconds:.1f}", f"{run.seconds / starts[0].seconds:.2f}",
            f"{run.cpu_seconds:.1f}", f"{run.decoded:,}", _mib(cache), _mib(run.driver),
        )  # fmt: skip


def _print_trials(kind: str, starts: Sequence[Start]) -> None:
    for number, run in enumerate(starts, start=1):
        for memory in run.trials.values():
            shared = memory.rss - memory.uss
            print_row(kind, number, *map(_mib, (memory.rss, memory.uss, shared, memory.pss)))


def _mib(count: float) -> str:
    return f"{count / MIB:,.0f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The command on many image files.")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="write the images there and keep them")
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        data = arguments.folder or work / "images"
        make_images(data, arguments.images)
        print(f"load before: {os.getloadavg()[0]:.2f}")
        starts = {
            kind: [start(data, work, f"{kind.split()[1]}_{k}", mapped=mapped) for k in (1, 2)]
            for mapped, kind in KINDS.items()
        }
        print_head(
            "splits", "start", "seconds", "ratio", "CPU", "decoded", "cache MiB", "driver MiB"
        )
        for mapped, kind in KINDS.items():
            _print_starts(kind, starts[kind], _size(_cache(work, mapped=mapped)))
        print_head("splits", "start", "trial MiB", "private", "shared", "private and share")
        for kind in KINDS.values():
            _print_trials(kind, starts[kind])


if __name__ == "__main__":
    main()
