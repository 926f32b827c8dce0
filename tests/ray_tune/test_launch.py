"""Ray starts while a study's modules are imported, or when the study connects."""

import subprocess
import sys
from pathlib import Path

import psutil

SPACES = Path(__file__).parents[2] / "search_spaces"
SIDE_BY_SIDE = """
import sys
from tune_bio.ray_tune.environment import prepare_environment
from tune_bio.ray_tune.launch import STUDY, open_ray_session
from tune_bio.space.settings import SearchSettings
prepare_environment()
with open_ray_session(SearchSettings()) as session:
    import ray
    print(len(session.nodes), ray.is_initialized(), STUDY in sys.modules)
print(ray.is_initialized())
with open_ray_session(SearchSettings()) as session:
    print(len(session.nodes), ray.is_initialized())
    session.connect()
    session.connect()
    print(ray.is_initialized())
print(ray.is_initialized())
"""


def _run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip


def test_ray_starts_with_the_imports_or_on_demand_and_ends_with_the_block(tmp_path: Path) -> None:
    completed = _run("-c", SIDE_BY_SIDE, folder=tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.splitlines() == ["1 True True", "False", "1 False", "True", "False"]


def test_an_input_error_after_ray_has_started_prints_one_line_and_leaves_no_process(
    tmp_path: Path,
) -> None:
    space = str(SPACES / "transfer.py")
    completed = _run("-m", "tune_bio.search", space, "--data", "nowhere", folder=tmp_path)
    assert completed.returncode == 2
    assert completed.stdout == ""
    assert completed.stderr.startswith("error: ")
    assert completed.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
    remaining = [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(tmp_path)]
    assert not remaining


def test_simple_mistakes_are_reported_before_torch_ray_and_pandas_are_imported(
    tmp_path: Path,
) -> None:
    space = str(SPACES / "transfer.py")
    (tmp_path / "results" / "transfer" / "best").mkdir(parents=True)
    completed = _run("-X", "importtime", "-m", "tune_bio.search", space, folder=tmp_path)
    assert completed.returncode == 2
    assert "exists already" in completed.stderr
    modules = {line.rpartition("|")[2].strip() for line in completed.stderr.splitlines()}
    assert not modules & {"torch", "ray", "pandas"}
