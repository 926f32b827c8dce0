"""python -m tune_bio.report: outputs are rebuilt from records, at any time."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.study_factory import make_study
from tune_bio.console.parser import EXIT_BAD_INPUT, EXIT_OK
from tune_bio.report import main
from tune_bio.study.request import locked

RECORDS = ("*.parquet", "experiment.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a finalist, in which only the command writes."""
    return make_study(tmp_path_factory.mktemp("results") / "finished", confirmed=1)


def digests(folder: Path) -> dict[str, str]:
    files = [path for pattern in RECORDS for path in folder.glob(pattern)]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_everything_is_rebuilt_and_the_records_are_unchanged(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests(finished)
    assert len(before) == 5
    assert main([str(finished)]) == EXIT_OK
    figures = len(list((finished / "figures").glob("*.png")))
    assert figures > 3
    assert f"finished (6 trials): {figures} figures, summary.md" in capsys.readouterr().out
    assert "(t0005) is best" in (finished / "report.html").read_text()
    assert "## Conclusions" in (finished / "summary.md").read_text()
    assert (finished / "tables" / "trials.csv").is_file()
    assert digests(finished) == before


def test_a_running_study_can_be_reported_while_its_driver_holds_the_lock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = make_study(tmp_path / "running", ended=False)
    with locked(running):
        assert main([str(running)]) == EXIT_OK
    assert "running (6 trials, not ended)" in capsys.readouterr().out
    assert "This study has not ended" in (running / "report.html").read_text()
    assert "The study has not ended" in (running / "summary.md").read_text()
    assert (running / "figures" / "trials_over_time.png").is_file()


@pytest.mark.parametrize("options", [{"trials": 0, "ended": False}, {"trials": 2, "failed": 2}])
def test_a_study_without_a_score_has_no_figures(tmp_path: Path, options: dict[str, Any]) -> None:
    folder = make_study(tmp_path / "study", **options)
    assert main([str(folder), "--quiet"]) == EXIT_OK
    assert not (folder / "figures").exists()
    assert "There is no answer" in (folder / "report.html").read_text()
    assert "No trial has a score" in (folder / "summary.md").read_text()


def test_several_studies_are_compared_on_one_page(finished: Path, tmp_path: Path) -> None:
    other = make_study(tmp_path / "other", trials=3, classes=("a", "b", "c"))
    assert main([str(finished), str(other), str(finished), "--quiet"]) == EXIT_OK
    comparison = (finished.parent / "comparison.html").read_text()
    assert "2 studies" in comparison
    assert comparison.index("finished") < comparison.index("other")
    assert (other / "report.html").is_file()
    elsewhere = tmp_path / "elsewhere.html"
    assert main([str(other), str(finished), "--quiet", "--output", str(elsewhere)]) == EXIT_OK
    assert "Studies side by side" in elsewhere.read_text()
    assert not (tmp_path / "comparison.html").exists()


def test_output_sets_the_path_of_the_page_of_one_study(finished: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main([str(finished), "--output", str(page), "--quiet"]) == EXIT_OK
    assert "(t0005) is best" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "RESULTS"),
        (["{tmp}/nothing"], "give the folder of a study"),
        (["{tmp}"], "give the folder of a study"),
        (["{study}", "--output", "{tmp}"], "is a folder"),
        (["{study}", "--output", "{tmp}/no/such/page.html"], "cannot be written"),
        (["{study}", "--outputs", "x"], "unrecognized arguments"),
    ],
)
def test_bad_input_is_one_line(
    finished: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    formatted = [text.format(tmp=tmp_path, study=finished) for text in arguments]
    assert main(formatted) == EXIT_BAD_INPUT
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("trials.parquet", b"PAR1"),
        ("experiment.json", b"{ not whole"),
        ("experiment.json", b"{}"),
        ("experiment.json", b"[]"),
    ],
)
def test_damaged_records_are_bad_input(
    tmp_path: Path, name: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_study(tmp_path / "study")
    (folder / name).write_bytes(content)
    assert main([str(folder)]) == EXIT_BAD_INPUT
    assert name in capsys.readouterr().err
    assert not (folder / "report.html").exists()


def test_the_command_imports_neither_ray_nor_pytorch(finished: Path) -> None:
    script = (
        "import sys; from tune_bio.report import main; status = main(sys.argv[1:]); "
        "print(status, [m for m in ('ray', 'torch', 'bokeh') if m in sys.modules])"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, str(finished), "--quiet"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.strip() == "0 []"


def test_a_manifest_of_an_earlier_version_is_accepted(tmp_path: Path) -> None:
    """Such a manifest has no question, versions or flags."""
    folder = make_study(tmp_path / "study")
    manifest = json.loads((folder / "experiment.json").read_text())
    for name in ("question", "versions", "confirmed", "started", "command", "best_trial"):
        del manifest[name]
    (folder / "experiment.json").write_text(json.dumps(manifest))
    assert main([str(folder), "--quiet"]) == EXIT_OK
    assert "<h1>study</h1>" in (folder / "report.html").read_text()
