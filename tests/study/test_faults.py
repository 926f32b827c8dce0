"""Faults in real processes: the command runs in a process and is disturbed from outside."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tune_bio.records.manifest_file import read_manifest
from tune_bio.records.tables import read_epochs, read_trials

SLOW = {"model": "cnn", "width": 64, "batch_size": 2, "lr": 0.001, "epochs": 400}
QUICK = {"model": "ann", "width": 16, "lr": 0.003, "epochs": 2}
PATIENCE_SECONDS = 240

pytestmark = pytest.mark.timeout(900)


class Command:
    """`python -m tune_bio.search` in a separate process."""

    def __init__(self, space: Path, folder: Path, configs: list[dict[str, Any]], *flags: str):
        configs_path = folder / "configs.json"
        configs_path.write_text(json.dumps(configs))
        self.folder = folder / "results" / "study"
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "tune_bio.search", str(space), "--name", "study",
                "--results", str(folder / "results"), "--configs", str(configs_path),
                "--max-epochs", "400", "--cpus-per-trial", "1", *flags,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip

    def until_training(self, trial_id: str) -> None:
        """Wait until the records show an epoch of the trial."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.process.stdout.read()
            if (self.folder / "epochs.parquet").is_file() and trial_id in set(
                read_epochs(self.folder)["trial_id"]
            ):
                return
            time.sleep(0.2)
        pytest.fail(f"{trial_id} did not train within {PATIENCE_SECONDS} s")

    def workers(self) -> list[psutil.Process]:
        """Return the command's descendants that train."""
        descendants = psutil.Process(self.process.pid).children(recursive=True)
        titles = {process: " ".join(process.cmdline()) for process in descendants}
        return [p for p, title in titles.items() if title.startswith("ray::") and "Train" in title]

    def end(self) -> tuple[int, str]:
        """Wait for the end of the command; return its exit status and its output."""
        output, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, output


@pytest.fixture
def command(space: Path, tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Yield a function that starts the command; end the commands that still run."""
    started: list[Command] = []

    def start(configs: list[dict[str, Any]], *flags: str) -> Command:
        started.append(Command(space, tmp_path, configs, *flags))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.terminate()
            running.process.communicate(timeout=PATIENCE_SECONDS)


def test_a_killed_trial_fails_and_the_study_continues(command: Any) -> None:
    running = command([SLOW, QUICK, {**QUICK, "seed": 1}], "--max-concurrent", "1")
    running.until_training("t0000")
    (worker,) = running.workers()
    os.kill(worker.pid, signal.SIGKILL)
    status, output = running.end()
    assert status == 1, output
    trials = read_trials(running.folder)
    assert list(trials["status"]) == ["failed", "completed", "completed"]
    assert "it was killed" in trials["error"][0]
    assert "t0000 failed" in output
    assert "Traceback" not in output


def test_a_hung_trial_is_ended_and_the_study_continues(command: Any) -> None:
    # A single batch of this trial takes far longer than the timeout, as if it were hung.
    hung = {**SLOW, "model": "resnet18", "image_size": 224, "batch_size": 96}
    hung.pop("width")
    running = command([hung, QUICK], "--max-concurrent", "1", "--stall-timeout", "5")
    status, output = running.end()
    assert status == 1, output
    trials = read_trials(running.folder)
    assert list(trials["status"]) == ["failed", "completed"]
    assert trials["error"][0].startswith("hung: no batch finished")
    assert "--stall-timeout" in trials["error"][0]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_an_interrupted_study_keeps_its_records(
    command: Any, number: signal.Signals, status: int
) -> None:
    running = command([SLOW, {**SLOW, "seed": 1}, {**SLOW, "seed": 2}])
    running.until_training("t0000")
    running.process.send_signal(number)
    exit_status, output = running.end()
    assert exit_status == status, output
    assert "Traceback" not in output
    trials = read_trials(running.folder)
    assert set(trials["status"]) == {"interrupted"}
    assert read_manifest(running.folder)["interrupted"]
    assert (running.folder / "summary.md").is_file()
    assert (running.folder / "optuna.log").is_file()
    for path in running.folder.glob("*.parquet"):
        assert not list(running.folder.glob(f".{path.name}*")), "a temporary file remains"
