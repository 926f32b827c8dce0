"""What a trial's process holds of its own when two of them read a gibibyte of images.

    python benchmarks/shared_memory.py [--torch-home DIR]

Two trials at a time, on few images and on many; the growth of each process's private memory (pages
that it alone has and has written: those of a mapped file are the system's, whoever reads them
first) as a share of what the images grew by. Then the same with the features of a frozen
SqueezeNet, which trials read in the place of images. Linux only.

Wanted: less than a tenth.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from sides import head, real_data, row, tune_bio, use_torch_home, write_npz

MIB = 2**20
TRIAL_TITLES = ("ray::TrialActor", "ray::ResourceTrainable")  # as Ray calls its workers
FEATURES = 512 * 3 * 3 * 4  # bytes an image of 64 px, before SqueezeNet's pooling
CASES: Mapping[str, dict[str, Any]] = {
    "images": {"side": 256, "few": 512, "many": 16_384, "bytes": 256 * 256, "model": "ann",
               "width": 8},
    "features": {"side": 64, "few": 2_048, "many": 20_480, "bytes": FEATURES,
                 "model": "squeezenet1_0", "weights": "imagenet", "freeze": "backbone"},
}  # fmt: skip
QUICK = {"side": 32, "few": 128, "many": 512, "bytes": 32 * 32, "model": "ann", "width": 8}
OF_A_CONFIGURATION = ("model", "width", "weights", "freeze")


def private(work: Path, name: str, case: Mapping[str, Any], images: int) -> list[int]:
    """The largest private memory of each trial's process, in bytes."""
    data = write_npz(work / f"{name}.npz", images, case["side"], case["few"])
    largest: dict[int, int] = {}

    def weigh(process: psutil.Process) -> None:
        if "".join(process.cmdline()).startswith(TRIAL_TITLES):
            written = _private_dirty(process.pid)
            largest[process.pid] = max(written, largest.get(process.pid, 0))

    common = {key: case[key] for key in OF_A_CONFIGURATION if key in case}
    configs = [{**common, "epochs": 2, "lr": lr} for lr in (1e-3, 2e-3)]
    flags = ("--image-size", case["side"], "--max-concurrent", 2)
    tune_bio(work, name, configs, data, *flags, cache=f"cache_{name}", look=weigh)
    data.unlink()
    return sorted(largest.values())


def _private_dirty(pid: int) -> int:
    """Bytes; 0 where the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))


def growth(few: Sequence[int], many: Sequence[int]) -> list[int]:
    """By how many bytes each process is larger with many images, the smaller ones first."""
    if len(few) != len(many):
        sys.exit(f"{len(few)} and {len(many)} processes of trials were seen: try again")
    return [large - small for small, large in zip(few, many, strict=True)]


def main() -> None:
    if sys.platform != "linux":
        sys.exit("private memory is read from /proc, which only Linux has")
    parser = argparse.ArgumentParser(description="Private memory of trials on shared images.")
    parser.add_argument(
        "--torch-home", type=Path, default=real_data("torch_home"), help="where torch.hub looks"
    )
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    use_torch_home(arguments.torch_home)
    cases = {"images": QUICK} if arguments.quick else CASES
    head("shared", "grew by MiB", "private MiB before", "private MiB after", "growth", "share")
    for name, case in cases.items():
        more = case["bytes"] * (case["many"] - case["few"])
        with tempfile.TemporaryDirectory() as folder:
            few = private(Path(folder), "few", case, case["few"])
            many = private(Path(folder), "many", case, case["many"])
        for before, after, grew in zip(few, many, growth(few, many), strict=True):
            cells = (f"{count / MIB:,.0f}" for count in (more, before, after, grew))
            row(name, *cells, f"{grew / more:.1%}")


if __name__ == "__main__":
    main()
