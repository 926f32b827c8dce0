"""Ray and a study's modules start side by side, in a process that has neither."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

SPACES = Path(__file__).parents[2] / "search_spaces"
SIDE_BY_SIDE = """
import sys
from tune_bio.environment import prepare_environment
from tune_bio.launch import STUDY, launched
from tune_bio.settings import SearchSettings
prepare_environment()
with launched(SearchSettings(), None, dashboard=False) as nodes:
    import ray
    print(len(nodes), ray.is_initialized(), STUDY in sys.modules)
print(ray.is_initialized())
with launched(SearchSettings(), None, dashboard=False) as nodes:
    print(nodes, ray.is_initialized())
"""


def _run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_ray_is_there_when_the_modules_are_and_goes_with_the_block(tmp_path: Path) -> None:
    done = _run("-c", SIDE_BY_SIDE, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:3] == ["1 True True", "False", "None False"]


def test_what_is_refused_while_ray_starts_leaves_one_line_and_no_process(tmp_path: Path) -> None:
    space = str(SPACES / "transfer.py")
    done = _run("-m", "tune_bio.search", space, "--data", "nowhere", folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
    here = [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(tmp_path)]
    assert not here


def test_the_simplest_mistakes_are_told_before_anything_is_imported(tmp_path: Path) -> None:
    space = str(SPACES / "transfer.py")
    (tmp_path / "results" / "transfer" / "best").mkdir(parents=True)
    done = _run("-X", "importtime", "-m", "tune_bio.search", space, folder=tmp_path)
    assert done.returncode == 2
    assert "exists already" in done.stderr
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not modules & {"torch", "ray", "pandas"}
