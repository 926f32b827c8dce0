"""The page of a study of 500 trials with 60 epochs, shared by all tests."""

import os
from pathlib import Path

import pytest

from tests.analysis.study_factory import make_study
from tune_bio.analysis.conclusions import derive_conclusions
from tune_bio.analysis.page.gallery import LARGEST_IN_ALL
from tune_bio.analysis.page.write_page import write_page
from tune_bio.analysis.study_records import read_study
from tune_bio.records.tables import read_predictions


@pytest.fixture(scope="session")
def large_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of report.html, with as many bytes of figures as it may embed."""
    folder = tmp_path_factory.mktemp("large") / "study"
    make_study(folder, trials=500, epochs=60, confirmed=2)
    study = read_study(folder)
    (folder / "figures").mkdir()
    for number in range(3):
        content = os.urandom(LARGEST_IN_ALL // 3)
        (folder / "figures" / f"figure_{number}.png").write_bytes(content)
    return write_page(study, derive_conclusions(study, read_predictions(folder)), folder)
