"""The folder of a study: only the traces of a study that never started may be overwritten."""

from pathlib import Path

import numpy as np
import pytest

from tune_bio.errors import ResultsError
from tune_bio.records.manifest_file import MANIFEST
from tune_bio.records.schema import TRIALS
from tune_bio.records.tables import Records
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study.request import Request, refuse_existing

NO_NAMES = np.array([], dtype=str)


@pytest.fixture
def study_request(tmp_path: Path) -> Request:
    return Request(name="study", results=tmp_path)


def _records(folder: Path) -> Records:
    return Records(folder, ("a", "b"), NO_NAMES, NO_NAMES, np.array([], dtype=np.int64))


def test_a_study_that_was_killed_before_its_manifest_may_be_overwritten(
    study_request: Request,
) -> None:
    folder = study_request.folder
    refuse_existing(study_request)
    folder.mkdir()
    refuse_existing(study_request)
    (folder / ".lock").touch()
    (folder / ".trials.parquet.17.tmp").write_bytes(b"PAR1")
    refuse_existing(study_request)
    _records(folder).write()
    assert (folder / TRIALS).is_file()
    refuse_existing(study_request)
    (folder / MANIFEST).write_text("{}")
    with pytest.raises(ResultsError, match="--resume"):
        refuse_existing(study_request)


@pytest.mark.parametrize("name", ["notes.txt", "own.parquet", "best"])
def test_other_files_are_never_overwritten(study_request: Request, name: str) -> None:
    study_request.folder.mkdir()
    (study_request.folder / name).write_bytes(b"something of the user's")
    with pytest.raises(ResultsError, match="exists already"):
        refuse_existing(study_request)


def test_tables_with_rows_are_a_study_even_without_a_manifest(
    study_request: Request,
) -> None:
    study_request.folder.mkdir()
    records = _records(study_request.folder)
    records.start_trial("t0000", "c", TrialConfig.of({"model": "ann"}))
    records.write()
    with pytest.raises(ResultsError, match="exists already"):
        refuse_existing(study_request)


def test_a_file_in_the_place_of_the_folder_is_refused(study_request: Request) -> None:
    study_request.folder.touch()
    with pytest.raises(ResultsError, match="exists already"):
        refuse_existing(study_request)
