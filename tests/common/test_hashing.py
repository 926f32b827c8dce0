"""Content hashes: equal for equal content, different for anything else."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.data_factory import examples
from tune_bio.common.hashing import array_sha256, file_sha256


@examples
@given(hnp.arrays(st.sampled_from([np.uint8, np.int64, np.float32]), hnp.array_shapes(min_side=0)))
def test_the_hash_of_an_array_depends_on_its_content_and_not_its_memory_layout(array: Any) -> None:
    sha256 = array_sha256(array)
    assert array_sha256(np.asfortranarray(array)) == sha256
    assert array_sha256(np.repeat(array, 2, axis=0)[::2]) == sha256
    assert array_sha256(array.reshape(1, *array.shape)) != sha256
    assert array_sha256(array, array) != sha256
    assert array_sha256(array.astype(np.float64)) != sha256
    if array.size:
        changed = array.copy()
        changed.flat[-1] = not changed.flat[-1]
        assert array_sha256(changed) != sha256


def test_text_arrays_can_be_hashed() -> None:
    assert array_sha256(np.array(["a", "b"])) != array_sha256(np.array(["a", "c"]))


def test_the_hash_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()
