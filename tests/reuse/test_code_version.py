"""The version of the code that affects results."""

from collections.abc import Callable
from pathlib import Path

import pytest

import tune_bio
from tune_bio.reuse.code_version import RESULT_FOLDERS, code_version, source_sha256


def test_the_version_is_a_hash_of_the_folders_that_affect_results() -> None:
    assert code_version() == code_version()
    assert len(code_version()) == 64
    assert code_version() == source_sha256(Path(tune_bio.__file__).parent, RESULT_FOLDERS)


def test_a_missing_folder_is_an_error_and_is_not_ignored(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="models"):
        source_sha256(tmp_path, ["models"])


@pytest.mark.parametrize(
    "change",
    [
        lambda package: (package / "models" / "deep.py").write_text("x = 2"),
        lambda package: (package / "models" / "more.py").write_text(""),
        lambda package: (package / "training" / "fit.py").rename(
            package / "training" / "fitted.py"
        ),
    ],
)
def test_only_code_that_affects_results_changes_the_version(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    for folder, name, text in (("models", "deep", "x = 1"), ("training", "fit", "y = 1")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").write_text(text)
    folders = ("training", "models")
    before = source_sha256(tmp_path, folders)
    (tmp_path / "report.py").write_text("z = 1")
    assert source_sha256(tmp_path, folders[::-1]) == before
    change(tmp_path)
    assert source_sha256(tmp_path, folders) != before
