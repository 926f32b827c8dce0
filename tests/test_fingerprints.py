"""Content keys: equal for equal content, different for anything else."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tune_bio
from tests.fixtures_data import examples
from tune_bio.config import TrialConfig
from tune_bio.fingerprints import (
    NUMBERS,
    array_sha256,
    code_version,
    config_id,
    file_sha256,
    source_sha256,
)

BASE: dict[str, Any] = {"model": "ann", "lr": 0.01}


def test_a_configuration_keeps_its_name_over_seeds_and_spelled_out_defaults() -> None:
    name = config_id(TrialConfig.of(BASE))
    assert len(name) == 12
    assert int(name, 16) >= 0
    assert config_id(TrialConfig.of({**BASE, "seed": 9})) == name
    assert config_id(TrialConfig.of(TrialConfig.of(BASE).params())) == name
    assert config_id(TrialConfig.of({"lr": 0.01, "model": "ann", "depth": 3})) == name
    assert config_id(TrialConfig.of({"model": "ann", "weight_decay": 0})) == config_id(
        TrialConfig.of({"model": "ann", "weight_decay": 0.0})
    )


@pytest.mark.parametrize(
    "change",
    [{"lr": 0.011}, {"depth": 2}, {"dropout": 0.3}, {"loss": "bce"}, {"epochs": 19}],
    ids=str,
)
def test_every_change_of_a_hyperparameter_changes_the_name(change: dict[str, Any]) -> None:
    assert config_id(TrialConfig.of(BASE | change)) != config_id(TrialConfig.of(BASE))


@examples
@given(hnp.arrays(st.sampled_from([np.uint8, np.int64, np.float32]), hnp.array_shapes(min_side=0)))
def test_an_array_is_named_by_its_content_and_not_by_its_memory(array: Any) -> None:
    name = array_sha256(array)
    assert array_sha256(np.asfortranarray(array)) == name
    assert array_sha256(np.repeat(array, 2, axis=0)[::2]) == name
    assert array_sha256(array.reshape(1, *array.shape)) != name
    assert array_sha256(array, array) != name
    assert array_sha256(array.astype(np.float64)) != name
    if array.size:
        other = array.copy()
        other.flat[-1] = not other.flat[-1]
        assert array_sha256(other) != name


def test_text_arrays_have_names_too() -> None:
    assert array_sha256(np.array(["a", "b"])) != array_sha256(np.array(["a", "c"]))


def test_a_file_is_named_by_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_the_code_has_one_version_that_names_existing_rooms() -> None:
    assert code_version() == code_version()
    assert len(code_version()) == 64
    package = Path(tune_bio.__file__).parent
    for room in NUMBERS:
        assert (package / room).is_dir() != (package / f"{room}.py").is_file(), room


@pytest.mark.parametrize(
    "change",
    [
        lambda package: (package / "models" / "deep.py").write_text("x = 2"),
        lambda package: (package / "models" / "more.py").write_text(""),
        lambda package: (package / "training.py").rename(package / "trained.py"),
    ],
)
def test_code_that_makes_numbers_changes_the_version_and_other_code_does_not(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "deep.py").write_text("x = 1")
    (tmp_path / "training.py").write_text("y = 1")
    rooms = ("training", "models")
    before = source_sha256(tmp_path, rooms)
    (tmp_path / "report.py").write_text("z = 1")
    assert source_sha256(tmp_path, rooms[::-1]) == before
    change(tmp_path)
    assert source_sha256(tmp_path, rooms) != before
