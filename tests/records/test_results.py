"""Loading the tables of a study with tune_bio.load_results."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

import tune_bio
from tests.analysis.study_factory import IMAGES, make_study
from tune_bio.errors import ResultsError


def test_the_tables_of_a_study_are_loaded(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", trials=3, epochs=4, confirmed=1)
    results = tune_bio.load_results(str(folder))
    assert results.folder == folder
    assert list(results.trials["trial_id"]) == ["t0000", "t0001", "t0002", "t0002r1", "t0002r2"]
    assert results.epochs.groupby("trial_id").size().tolist() == [4] * 5
    assert len(results.predictions.query("split == 'test'")) == IMAGES
    assert set(results.evaluations["metric"]) == {"auroc", "accuracy", "loss"}
    assert results.manifest["name"] == "study"
    assert "trials" not in repr(results), "a notebook shows the folder, not five tables"
    with pytest.raises(FrozenInstanceError):
        results.trials = results.epochs  # type: ignore[misc]


def test_a_running_study_is_loaded(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", trials=2, ended=False)
    assert list(tune_bio.load_results(folder).trials["status"]) == ["completed", "running"]


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="give the folder of a study"):
        tune_bio.load_results(tmp_path)
