"""The folder of a study: another's is never touched, and one that never began is in no way."""

from pathlib import Path

import numpy as np
import pytest

from tune_bio.errors import ResultsError
from tune_bio.records.manifest_file import MANIFEST
from tune_bio.records.schema import TRIALS
from tune_bio.records.tables import Records
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study.request import Request, refuse_existing

NOBODY = np.array([], dtype=str)


@pytest.fixture
def request_for(tmp_path: Path) -> Request:
    return Request(name="study", results=tmp_path)


def _records(folder: Path) -> Records:
    return Records(folder, ("a", "b"), NOBODY, NOBODY, np.array([], dtype=np.int64))


def test_a_study_that_was_killed_before_its_manifest_is_in_no_way(request_for: Request) -> None:
    folder = request_for.folder
    refuse_existing(request_for)
    folder.mkdir()
    refuse_existing(request_for)
    (folder / ".lock").touch()
    (folder / ".trials.parquet.17.tmp").write_bytes(b"PAR1")
    refuse_existing(request_for)
    _records(folder).write()
    assert (folder / TRIALS).is_file()
    refuse_existing(request_for)
    (folder / MANIFEST).write_text("{}")
    with pytest.raises(ResultsError, match="--resume"):
        refuse_existing(request_for)


@pytest.mark.parametrize("name", ["notes.txt", "own.parquet", "best"])
def test_what_is_not_ours_is_never_written_over(request_for: Request, name: str) -> None:
    request_for.folder.mkdir()
    (request_for.folder / name).write_bytes(b"something of the user's")
    with pytest.raises(ResultsError, match="exists already"):
        refuse_existing(request_for)


def test_tables_with_rows_are_a_study_whatever_has_become_of_its_manifest(
    request_for: Request,
) -> None:
    request_for.folder.mkdir()
    records = _records(request_for.folder)
    records.start_trial("t0000", "c", TrialConfig.of({"model": "ann"}))
    records.write()
    with pytest.raises(ResultsError, match="exists already"):
        refuse_existing(request_for)


def test_a_file_in_the_place_of_the_folder(request_for: Request) -> None:
    request_for.folder.touch()
    with pytest.raises(ResultsError, match="exists already"):
        refuse_existing(request_for)
