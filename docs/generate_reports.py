"""Writes reports.md: five course reports, run again on real chest radiographs. `make reports`.

The command: TUNE_BIO_REAL_DATA=DIR python docs/generate_reports.py [--size reduced|full] [--only A]

DIR holds `chest_xray/` (class folders), or else `pneumoniamnist_dev.npz` (patients unknown there,
and some images in two splits), and `torch_home/` with what weights there are. A study that is
complete is not run again, an interrupted one goes on; one that fails does not keep the others
from running, and the page says so.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import reports_page
from course_reports import REPORTS, WEIGHTS_AND_BATCH, Report

from tune_bio.common.files import write_text
from tune_bio.errors import TuneBioError
from tune_bio.models.weights.published import resolve
from tune_bio.records.manifest_file import read_manifest
from tune_bio.space.branches import walk_branches
from tune_bio.space.search_space import ModelWeights, load_search_space

ROOT = Path(__file__).parents[1]
TARGET = Path(__file__).with_name("reports.md")
REAL_DATA = "TUNE_BIO_REAL_DATA"
# What is pinned so that all of it fits into 25 minutes on two cores, by report and size.
_PLAIN = ("--no-controls",)
SIZES: dict[str, dict[str, tuple[str, ...]]] = {
    "reduced": {
        "A": ("--image-size", "64"),
        "B": ("--image-size", "64", *_PLAIN),
        "C": ("--image-size", "32", "--max-epochs", "3", "--replicates", "2", *_PLAIN),
        "C, another model": ("--image-size", "64", "--max-epochs", "12", *_PLAIN),
        "D": ("--set", "resize=73", "--set", "crop=64", *_PLAIN),
        "E": ("--image-size", "64", *_PLAIN),
    },
    "full": {
        "A": ("--image-size", "256"),
        "B": ("--image-size", "256"),
        "C": ("--image-size", "224"),
        "C, another model": ("--image-size", "224"),
        "D": (),
        "E": ("--image-size", "256"),
    },
    # For the tests of this script.
    "tiny": {
        name: ("--max-epochs", "1", "--replicates", "2", *pins, *_PLAIN)
        for name, pins in {
            "A": ("--image-size", "16"),
            "B": ("--image-size", "16", "--set", "lr=0.001"),
            "C": ("--image-size", "32", "--set", "batch_size=32"),
            "C, another model": ("--image-size", "32", "--set", "batch_size=32"),
            "D": ("--set", "resize=40", "--set", "crop=32"),
            "E": ("--image-size", "16"),
        }.items()
    },
}
ADDED: ModelWeights = ("squeezenet1_0", "IMAGENET1K_V1")
INTRODUCTION = """\
Written by `make reports` (`docs/generate_reports.py`), and typed by nobody but for the reports' own
figures. Five students of one course (deep learning in biomedical optical imaging) ran 4 to 10
notebook trainings each, one seed a setting, and typed the outcome into tables; their data are not
known. Here their questions are put to real paediatric chest radiographs (Kermany et al., CC BY
4.0), every setting under several seeds. The images are others, and smaller, so that accuracies
beside each other are not to be compared: what can be is what the differences within a table say."""


@dataclass(frozen=True)
class Task:
    """A study that is to be run: of a report, or the same question put to another model."""

    key: str
    report: Report
    name: str
    flags: tuple[str, ...]
    missing: str = ""


def main() -> int:
    """Run what is not complete, and write the page; returns the exit status."""
    options = _arguments()
    os.environ.setdefault("TORCH_HOME", str(Path(os.environ.get(REAL_DATA, ".")) / "torch_home"))
    try:
        data = source_of(os.environ.get(REAL_DATA))
    except ValueError as error:
        print(f"make reports: {error}", file=sys.stderr)
        return 2
    wanted = [task for task in tasks(options.size, options.more) if _is_wanted(task, options)]
    failures: dict[str, str] = {}
    began = time.monotonic()
    for number, task in enumerate(wanted, start=1):
        print(f"[{number}/{len(wanted)}] {task.key}: {task.report.space}", flush=True)
        if not task.missing:
            failures[task.name] = run(task, data, options.results)
            if failures[task.name]:
                print(f"  failed: {failures[task.name]}", flush=True)
        else:
            print(f"  not run: {task.missing}", flush=True)
        print(f"  {(time.monotonic() - began) / 60:.1f} min so far", flush=True)
    write_text(options.page, _page(wanted, failures, options.results))
    print(f"written: {options.page}")
    return int(any(failures.values()))


def source_of(folder: str | None) -> tuple[str, ...]:
    """The flags that name the real images; raises ValueError with what is missing."""
    if not folder:
        raise ValueError(
            f"{REAL_DATA} is not set; set it to a folder with chest_xray/ or pneumoniamnist_dev.npz"
        )
    images, arrays = Path(folder) / "chest_xray", Path(folder) / "pneumoniamnist_dev.npz"
    if images.is_dir():
        return ("--data", str(images))
    if arrays.is_file():
        return ("--data", str(arrays), "--allow-leakage")
    raise ValueError(f"{folder} holds neither chest_xray/ nor pneumoniamnist_dev.npz")


def tasks(size: str, more: Sequence[str]) -> list[Task]:
    """What there is to run at a size; of report C what weights are at hand for."""
    found = []
    for report in REPORTS:
        missing = _missing_weights(report)
        flags = (*SIZES[size][report.letter], *more)
        found.append(Task(report.letter, report, f"{report.space}_{size}", flags, missing))
        if report is WEIGHTS_AND_BATCH and missing:
            key = f"{report.letter}, another model"
            model, weights = ADDED
            pins = ("--set", f"model={model}", "--set", f"weights={weights}")
            lacking = "; ".join(resolve([ADDED], None).missing.values())
            flags = (*SIZES[size][key], *pins, *more)
            found.append(Task(key, report, f"{report.space}_{size}_{model}", flags, lacking))
    return found


def run(task: Task, data: Sequence[str], results: Path) -> str:
    """Run a study, or what is left of it; why it failed, where it did."""
    folder = results / task.name
    if is_complete(folder):
        print("  complete already", flush=True)
        return ""
    resume = ("--resume",) if (folder / "experiment.json").is_file() else ()
    space = ROOT / "search_spaces" / f"{task.report.space}.py"
    command = [
        sys.executable, "-m", "tune_bio.search", str(space), *data, *task.flags,
        "--name", task.name, "--results", str(results), *resume,
    ]  # fmt: skip
    results.mkdir(parents=True, exist_ok=True)
    with (results / f"{task.name}.log").open("w", encoding="utf-8") as log:
        ended = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, check=False)
    if ended.returncode in (0, 1) and is_complete(folder):
        return ""
    told = Path(log.name).read_text(encoding="utf-8").strip().splitlines()
    errors = [line for line in told if line.startswith("error: ")]
    return f"exit status {ended.returncode}: {(errors or told or ['it said nothing'])[-1]}"


def is_complete(folder: Path) -> bool:
    """Whether a study has run to its end."""
    try:
        manifest = read_manifest(folder)
    except TuneBioError:
        return False
    return "conclusions" in manifest and not manifest["interrupted"]


def _missing_weights(report: Report) -> str:
    """Why a report's pretrained rows cannot be run, where none of them can."""
    pairs = walk_branches(load_search_space(ROOT / "search_spaces" / f"{report.space}.py")).pairs
    found = resolve(pairs, None)
    if not pairs or found.files:
        return ""
    return "; ".join(f"{model} {weights}: {why}" for (model, weights), why in found.missing.items())


def _page(wanted: Sequence[Task], failures: dict[str, str], results: Path) -> str:
    ran = []
    for task in wanted:
        addition = task.key != task.report.letter
        missing = task.missing or failures.get(task.name, "")
        if not missing:
            ran.append(reports_page.read(task.report, results / task.name, addition=addition))
        elif not addition:
            ran.append(reports_page.not_run(task.report, missing))
    return reports_page.page(ran, INTRODUCTION)


def _is_wanted(task: Task, options: Any) -> bool:
    return (
        not options.only or task.report.letter in options.only or task.report.space in options.only
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Five course reports, run again.")
    parser.add_argument("--size", choices=list(SIZES), default="reduced")
    parser.add_argument(
        "--only", metavar="NAME", action="append", help="a letter, or a space's name"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "reports")
    parser.add_argument("--page", type=Path, default=TARGET, help="where the page is written")
    parser.add_argument(
        "more", nargs="*", metavar="FLAG", help="more flags of the search, behind --"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
