"""tune_bio.load_results: a study's tables."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

import tune_bio
from tests.analysis.study_factory import IMAGES, make_study
from tune_bio.errors import ResultsError


def test_the_tables_of_a_study(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", trials=3, epochs=4, confirmed=1)
    found = tune_bio.load_results(str(folder))
    assert found.folder == folder
    assert list(found.trials["trial_id"]) == ["t0000", "t0001", "t0002", "t0002r1", "t0002r2"]
    assert found.epochs.groupby("trial_id").size().tolist() == [4] * 5
    assert len(found.predictions.query("split == 'test'")) == IMAGES
    assert set(found.evaluations["metric"]) == {"auroc", "accuracy", "loss"}
    assert found.manifest["name"] == "study"
    assert "trials" not in repr(found), "a notebook shows the folder, not five tables"
    with pytest.raises(FrozenInstanceError):
        found.trials = found.epochs  # type: ignore[misc]


def test_of_a_study_that_runs(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", trials=2, ended=False)
    assert list(tune_bio.load_results(folder).trials["status"]) == ["completed", "running"]


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="give the folder of a study"):
        tune_bio.load_results(tmp_path)
