"""20,000 image files: how soon the first trial starts, and what a trial holds in memory.

    python benchmarks/many_images.py [--images N] [--folder DIR]

Runs the real command on them twice, the second time with everything decoded already; then both once
more with splits that are kept in files, as those too large for memory are. Linux only.
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
from sides import head, row

from tune_bio.datasets.decoding.parallel import map_in_order

SIDE = 64
CLASSES = ("ill", "well")
MIB = 2**20
KINDS = {False: "in memory", True: "in files"}  # by whether they are mapped
TRIAL_TITLES = ("ray::TrialActor", "ray::ResourceTrainable")  # as Ray calls its workers
LOOK_SECONDS = 0.05
WEIGH_SECONDS = 0.5  # the kernel walks all of a process's pages for it

# A search-space file is code that runs in the command's own process, so it can count there.
SPACE = """
import atexit, json, resource
from pathlib import Path

from tune_bio import SearchSettings, Trial
from tune_bio.datasets import cache, file_source

SETTINGS = SearchSettings(num_trials=2, max_epochs=1, scheduler="none")
MAPPED, TOLD = {mapped}, Path({told!r})
decode, decoded = file_source.decode, []


def counted(data, name):
    decoded.append(name)
    return decode(data, name)


def tell():
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {{"decoded": len(decoded), "driver": used.ru_maxrss * 1024}}
    TOLD.write_text(json.dumps({{**found, "computed": used.ru_utime + used.ru_stime}}))


file_source.decode = counted
atexit.register(tell)
if MAPPED:
    cache.LARGE = 0


def search_space(trial: Trial) -> None:
    trial.suggest_categorical("model", ["cnn"])
    trial.suggest_categorical("width", [8])
    trial.suggest_float("lr", 1e-4, 1e-2, log=True)
"""


@dataclass(frozen=True)
class Weight:
    """Bytes of a process: resident, its own, and its own with its part of what it shares."""

    rss: int = 0
    uss: int = 0
    pss: int = 0


@dataclass
class Start:
    """What one run of the command showed; `trials` is by process."""

    seconds: float = 0.0  # to the first trial's start
    computed: float = 0.0  # seconds of CPU of the whole command, which a busy machine changes less
    decoded: int = 0
    driver: int = 0
    trials: dict[int, Weight] = field(default_factory=dict)


def make_images(folder: Path, images: int) -> None:
    """Grey noise with a brighter corner in one class; two images of each patient."""
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
    """Run the command to its end, and look at it from outside."""
    space, told = work / f"{name}.py", work / f"{name}.json"
    space.write_text(SPACE.format(mapped=mapped, told=str(told)))
    checkpoints = work / "results" / name / "checkpoints"
    found, began, weighed = Start(), time.perf_counter(), 0.0
    with psutil.Popen(_command(space, data, work, name, mapped=mapped)) as command:
        while command.poll() is None:
            now = time.perf_counter() - began
            if not found.seconds and any(checkpoints.glob("*")):  # a trial makes its folder first
                found.seconds = now
            if found.seconds and now - weighed > WEIGH_SECONDS:
                weighed = now
                _weigh(command, found.trials)
            time.sleep(LOOK_SECONDS)
    if command.returncode:
        sys.exit(command.returncode)
    inside = json.loads(told.read_text())
    found.decoded, found.driver = inside["decoded"], inside["driver"]
    found.computed = inside["computed"]
    return found


def _command(space: Path, data: Path, work: Path, name: str, *, mapped: bool) -> list[str]:
    return [
        sys.executable, "-m", "tune_bio.search", str(space), "--data", str(data),
        "--name", name, "--results", str(work / "results"), "--patient-pattern", r"(p\d+)-",
        "--cache-dir", str(_cache(work, mapped=mapped)), "--finalists", "0", "--no-controls",
        "--quiet",
    ]  # fmt: skip


def _cache(work: Path, *, mapped: bool) -> Path:
    return work / ("cache_mapped" if mapped else "cache")


def _weigh(command: psutil.Popen, trials: dict[int, Weight]) -> None:
    """Note each trial's process where it is larger than before."""
    for process in command.children(recursive=True):
        with suppress(psutil.Error):  # it may end at any moment
            if not "".join(process.cmdline()).startswith(TRIAL_TITLES):
                continue
            found = process.memory_full_info()
            if found.rss > trials.get(process.pid, Weight()).rss:
                trials[process.pid] = Weight(found.rss, found.uss, found.pss)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _tell_starts(kind: str, starts: Sequence[Start], cache: int) -> None:
    for number, found in enumerate(starts, start=1):
        row(
            kind, number, f"{found.seconds:.1f}", f"{found.seconds / starts[0].seconds:.2f}",
            f"{found.computed:.1f}", f"{found.decoded:,}", _mib(cache), _mib(found.driver),
        )  # fmt: skip


def _tell_trials(kind: str, starts: Sequence[Start]) -> None:
    for number, found in enumerate(starts, start=1):
        for weight in found.trials.values():
            shared = weight.rss - weight.uss
            row(kind, number, *map(_mib, (weight.rss, weight.uss, shared, weight.pss)))


def _mib(count: float) -> str:
    return f"{count / MIB:,.0f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The command on many image files.")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="make the images there, and keep them")
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
        head("splits", "start", "seconds", "ratio", "CPU", "decoded", "cache MiB", "driver MiB")
        for mapped, kind in KINDS.items():
            _tell_starts(kind, starts[kind], _size(_cache(work, mapped=mapped)))
        head("splits", "start", "trial MiB", "its own", "shared", "its own and its part")
        for kind in KINDS.values():
            _tell_trials(kind, starts[kind])


if __name__ == "__main__":
    main()
