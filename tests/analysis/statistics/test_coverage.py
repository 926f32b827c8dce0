"""Intervals hold the truth as often as they promise; benchmarks/coverage.py asks it of more."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    """The benchmark, whose simulations these are."""
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
def test_what_is_promised_is_held(coverage: ModuleType, part: str, studies: int, rows: int) -> None:
    found = list(coverage.PARTS[part](studies, seed=0))
    assert len(found) == rows
    assert [row for row in found if not row.met] == []


def test_the_corrected_best_of_many_is_held(coverage: ModuleType) -> None:
    found = list(coverage.selected(40, seed=0))
    assert [row for row in found if not row.met] == []


def test_the_benchmark_would_notice(coverage: ModuleType) -> None:
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
