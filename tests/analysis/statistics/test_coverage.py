"""Coverage of the intervals, by a short run of benchmarks/coverage.py."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    """Import the benchmark, which has the simulations."""
    path = Path(__file__).parents[3] / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("part", "studies", "rows"),
    [
        ("proportion", 300, 12), ("auroc", 150, 16), ("bootstrap", 40, 10), ("calibration", 40, 4),
        ("comparison", 30, 4),
    ],
)  # fmt: skip
def test_intervals_cover_as_often_as_they_promise(
    coverage: ModuleType, part: str, studies: int, rows: int
) -> None:
    results = list(coverage.PARTS[part](studies, seed=0))
    assert len(results) == rows
    assert [row for row in results if not row.met] == []


def test_the_interval_of_the_corrected_best_trial_covers(coverage: ModuleType) -> None:
    results = list(coverage.selected(40, seed=0))
    assert [row for row in results if not row.met] == []


def test_the_benchmark_notices_intervals_that_are_too_narrow_or_too_wide(
    coverage: ModuleType,
) -> None:
    narrow = coverage.Row("too narrow", 30, 240, 300, 0.93, 0.97)
    wide = coverage.Row("too wide", 30, 300, 300, 0.93, 0.97)
    assert not narrow.met
    assert not wide.met
    assert coverage.Row("right", 30, 283, 300, 0.93, 0.97).met


def test_the_benchmark_prints_a_table(
    coverage: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["coverage.py", "--studies", "2", "--only", "proportion"])
    coverage.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 12
    assert lines[2].startswith("| proportion 0.5 | 30 | ")
