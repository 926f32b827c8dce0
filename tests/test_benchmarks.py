"""The benchmarks run on minimal inputs; their times are not checked."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.analysis.page.test_page_in_browser import CHROMIUM

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(name: str, *flags: object) -> str:
    """Run a script with `--quick`; return what it prints."""
    command = [sys.executable, BENCHMARKS / f"{name}.py", "--quick", *flags]
    # Errors of tune_bio fail here; warnings of plain Ray Tune do not.
    completed = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def rows(printed: str) -> list[list[str]]:
    """Return the rows of the printed tables, without their headers."""
    cells: list[list[str]] = []
    for line in printed.splitlines():
        if line.startswith("| ---"):
            cells.pop()
        elif line.startswith("|"):
            cells.append(line[2:-2].split(" | "))
    return cells


def test_fine_tuning_speed_shows_the_same_losses() -> None:
    printed = run("fine_tuning_speed")
    assert "relative difference 0e+00" in printed
    assert [row[0] for row in rows(printed)] == ["bare loop", "tune_bio", "plain Ray Tune"]


def test_shuffled_labels_compares_three_protocols() -> None:
    protocols = [row[0] for row in rows(run("shuffled_labels"))]
    assert protocols == ["patients, last epoch", "images, last epoch", "patients, best epoch"]


def test_marginal_trial_compares_both_sides() -> None:
    assert [row[0] for row in rows(run("marginal_trial"))] == ["plain Ray Tune", "tune_bio"]


def test_memory_format_and_compiling_report_one_model() -> None:
    ((model, *ratios),) = rows(run("memory_format"))
    assert (model, len(ratios)) == ("cnn", 2)
    ((model, *_, paid),) = rows(run("compiling"))
    assert model == "cnn"
    assert paid == "never" or float(paid.replace(",", "")) > 0


def test_driver_load_reports_a_share_of_the_time() -> None:
    ((_, _, seconds, computed, share),) = rows(run("driver_load"))
    assert 0 < float(computed) < float(seconds)
    assert share.endswith("%")


@pytest.mark.browser
def test_page_load_reports_sizes_and_times() -> None:
    if CHROMIUM is None:
        pytest.skip("no Chromium (apt-get install chromium)")
    ((trials, _, size, *seconds),) = rows(run("page_load"))
    assert trials == "10"
    assert 1 < float(size) < 6
    assert all(float(value) > 0 for value in seconds)


@pytest.mark.skipif(sys.platform != "linux", reason="private memory is read from /proc")
def test_shared_memory_measures_two_processes() -> None:
    assert len(rows(run("shared_memory"))) == 2


def test_shared_prefixes_gives_the_same_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = tmp_path / "images.npz"
    splits = {"train": 64, "val": 32, "test": 32}
    arrays = {
        f"{name}_images": rng.integers(0, 256, (n, 8, 8), np.uint8) for name, n in splits.items()
    }
    labels = {f"{name}_labels": np.arange(n) % 2 for name, n in splits.items()}
    np.savez(data, **arrays, **labels)
    printed = run("shared_prefixes", "--data", data, "--image-size", 8)
    assert "rows: identical" in printed
    assert [row[:2] for row in rows(printed)] == [["six studies", "3"], ["one study", "2"]]


@pytest.mark.real_data
def test_frozen_search_runs_both_sides(real_data: Path) -> None:
    data, weights = real_data / "pneumoniamnist_dev.npz", real_data / "torch_home"
    printed = run("frozen_search", "--many", "--data", data, "--torch-home", weights)
    assert len(rows(printed)) == 5
    for row in rows(printed):
        assert float(row[2]) > 0
