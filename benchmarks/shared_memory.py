"""Private memory of trial processes when two of them read 1 GiB of images.

    python benchmarks/shared_memory.py [--torch-home DIR]

Two trials at a time, on few images and on many: the growth of each process's private memory (pages
that only this process has and has written; pages of a mapped file belong to the system) relative to
the growth of the images. Then the same with the features of a frozen SqueezeNet, which trials read
instead of images. Linux only.

Target: less than a tenth.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from sides import print_head, print_row, real_data, tune_bio, use_torch_home, write_npz

MIB = 2**20
TRIAL_TITLES = ("ray::TrialActor", "ray::ResourceTrainable")  # names of Ray's workers
FEATURES = 512 * 3 * 3 * 4  # bytes per image of 64 px, before SqueezeNet's pooling
CASES: Mapping[str, dict[str, Any]] = {
    "images": {"side": 256, "few": 512, "many": 16_384, "bytes": 256 * 256, "model": "ann",
               "width": 8},
    "features": {"side": 64, "few": 2_048, "many": 20_480, "bytes": FEATURES,
                 "model": "squeezenet1_0", "weights": "imagenet", "freeze": "backbone"},
}  # fmt: skip
QUICK = {"side": 32, "few": 128, "many": 512, "bytes": 32 * 32, "model": "ann", "width": 8}
HYPERPARAMETERS = ("model", "width", "weights", "freeze")


def private_memory(work: Path, name: str, case: Mapping[str, Any], images: int) -> list[int]:
    """Return the largest private memory of each trial process, in bytes."""
    data = write_npz(work / f"{name}.npz", images, case["side"], case["few"])
    largest: dict[int, int] = {}

    def measure(process: psutil.Process) -> None:
        if "".join(process.cmdline()).startswith(TRIAL_TITLES):
            written = _private_dirty(process.pid)
            largest[process.pid] = max(written, largest.get(process.pid, 0))

    common = {key: case[key] for key in HYPERPARAMETERS if key in case}
    configs = [{**common, "epochs": 2, "lr": lr} for lr in (1e-3, 2e-3)]
    flags = ("--image-size", case["side"], "--max-concurrent", 2)
    tune_bio(work, name, configs, data, *flags, cache=f"cache_{name}", observe=measure)
    data.unlink()
    return sorted(largest.values())


def _private_dirty(pid: int) -> int:
    """Return the bytes of private memory; 0 if the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))


def growth(few: Sequence[int], many: Sequence[int]) -> list[int]:
    """Return the growth of each process from few to many images, in order of size."""
    if len(few) != len(many):
        sys.exit(f"{len(few)} and {len(many)} trial processes were measured: try again")
    return [large - small for small, large in zip(few, many, strict=True)]


def main() -> None:
    if sys.platform != "linux":
        sys.exit("private memory is read from /proc, which only Linux has")
    parser = argparse.ArgumentParser(description="Private memory of trials on shared images.")
    parser.add_argument(
        "--torch-home", type=Path, default=real_data("torch_home"), help="folder of torch.hub"
    )
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    use_torch_home(arguments.torch_home)
    cases = {"images": QUICK} if arguments.quick else CASES
    print_head(
        "shared", "grew by MiB", "private MiB before", "private MiB after", "growth", "share"
    )
    for name, case in cases.items():
        added = case["bytes"] * (case["many"] - case["few"])
        with tempfile.TemporaryDirectory() as folder:
            few = private_memory(Path(folder), "few", case, case["few"])
            many = private_memory(Path(folder), "many", case, case["many"])
        for before, after, grew in zip(few, many, growth(few, many), strict=True):
            cells = (f"{count / MIB:,.0f}" for count in (added, before, after, grew))
            print_row(name, *cells, f"{grew / added:.1%}")


if __name__ == "__main__":
    main()
