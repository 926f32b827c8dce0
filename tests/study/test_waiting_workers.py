"""Trials run in the worker processes that Ray has already started."""

import subprocess
import sys
from pathlib import Path

# A separate process, since only a Ray that has just started has workers that no trial has used.
SCRIPT = """
import sys, time
import psutil, ray
from tune_bio.ray_tune.launch import WORKER
from tune_bio.ray_tune.ray_internals import lean_start
from tune_bio.search import main

PATIENCE_SECONDS = 120


def idle_workers():
    processes = psutil.Process().children(recursive=True)
    pids = set()
    for process in processes:
        try:
            pids |= {process.pid} if "ray::IDLE" in " ".join(process.cmdline()) else set()
        except psutil.NoSuchProcess:
            pass
    return pids


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert condition()


with lean_start(WORKER, dashboard=False):
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
wait_until(lambda: len(idle_workers()) == 2)
waiting = idle_workers()
assert main(sys.argv[1:]) == 0
# The process of an actor ends with the actor; an unused worker would go on waiting.
wait_until(lambda: not any(map(psutil.pid_exists, waiting)))
"""


def test_a_study_uses_the_waiting_worker_processes(space: Path, tmp_path: Path) -> None:
    flags = ["--num-trials", "2", "--max-epochs", "1", "--max-concurrent", "2", "--quiet"]
    subprocess.run(
        [sys.executable, "-c", SCRIPT, str(space), "--results", str(tmp_path), *flags], check=True
    )
