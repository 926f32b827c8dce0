"""python -m tune_bio.report: from records alone, at any time."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.study_factory import made_study
from tune_bio.console.parser import EXIT_BAD_INPUT, EXIT_OK
from tune_bio.report import main
from tune_bio.study.request import locked

RECORDS = ("*.parquet", "experiment.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a finalist; tests write nothing to it but what the command writes."""
    return made_study(tmp_path_factory.mktemp("results") / "finished", confirmed=1)


def digests(folder: Path) -> dict[str, str]:
    files = [path for pattern in RECORDS for path in folder.glob(pattern)]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_everything_is_rebuilt_and_the_records_stay_as_they_are(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests(finished)
    assert len(before) == 5
    assert main([str(finished)]) == EXIT_OK
    drawn = len(list((finished / "figures").glob("*.png")))
    assert drawn > 3
    assert f"finished (6 trials): {drawn} figures, summary.md" in capsys.readouterr().out
    assert "(t0005) is best" in (finished / "report.html").read_text()
    assert "## What can be said" in (finished / "summary.md").read_text()
    assert (finished / "tables" / "trials.csv").is_file()
    assert (finished / "optuna.log").is_file()
    assert digests(finished) == before


def test_a_running_study_is_told_while_its_driver_holds_the_lock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = made_study(tmp_path / "running", ended=False)
    with locked(running):
        assert main([str(running)]) == EXIT_OK
    assert "running (6 trials, not ended)" in capsys.readouterr().out
    assert "This study has not ended" in (running / "report.html").read_text()
    assert "The study has not ended" in (running / "summary.md").read_text()
    assert (running / "figures" / "trials_over_time.png").is_file()


@pytest.mark.parametrize("made", [{"trials": 0, "ended": False}, {"trials": 2, "failed": 2}])
def test_a_study_without_a_score_has_no_figures(tmp_path: Path, made: dict[str, Any]) -> None:
    folder = made_study(tmp_path / "study", **made)
    assert main([str(folder), "--quiet"]) == EXIT_OK
    assert not (folder / "figures").exists()
    assert "There is no answer" in (folder / "report.html").read_text()
    assert "No trial has a score" in (folder / "summary.md").read_text()


def test_several_studies_are_set_side_by_side(finished: Path, tmp_path: Path) -> None:
    other = made_study(tmp_path / "other", trials=3, classes=("a", "b", "c"))
    assert main([str(finished), str(other), str(finished), "--quiet"]) == EXIT_OK
    beside = (finished.parent / "comparison.html").read_text()
    assert "2 studies" in beside
    assert beside.index("finished") < beside.index("other")
    assert (other / "report.html").is_file()
    elsewhere = tmp_path / "elsewhere.html"
    assert main([str(other), str(finished), "--quiet", "--output", str(elsewhere)]) == EXIT_OK
    assert "Studies side by side" in elsewhere.read_text()
    assert not (tmp_path / "comparison.html").exists()


def test_the_page_of_one_study_goes_where_it_is_told(finished: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main([str(finished), "--output", str(page), "--quiet"]) == EXIT_OK
    assert "(t0005) is best" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
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
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [text.format(tmp=tmp_path, study=finished) for text in arguments]
    assert main(given) == EXIT_BAD_INPUT
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert told in error
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
    folder = made_study(tmp_path / "study")
    (folder / name).write_bytes(content)
    assert main([str(folder)]) == EXIT_BAD_INPUT
    assert name in capsys.readouterr().err
    assert not (folder / "report.html").exists()


def test_the_command_needs_neither_ray_nor_pytorch(finished: Path) -> None:
    script = (
        "import sys; from tune_bio.report import main; status = main(sys.argv[1:]); "
        "print(status, [m for m in ('ray', 'torch', 'bokeh') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(finished), "--quiet"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "0 []"


def test_another_manifest_does_not_break_the_page(tmp_path: Path) -> None:
    """Of an earlier version: without the question, the versions, the flags."""
    folder = made_study(tmp_path / "study")
    manifest = json.loads((folder / "experiment.json").read_text())
    for name in ("question", "versions", "confirmed", "started", "command", "best_trial"):
        del manifest[name]
    (folder / "experiment.json").write_text(json.dumps(manifest))
    assert main([str(folder), "--quiet"]) == EXIT_OK
    assert "<h1>study</h1>" in (folder / "report.html").read_text()
