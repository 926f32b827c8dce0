"""A trial's failure is explained in one line, with a remedy."""

from pathlib import Path

import pytest
import ray.exceptions
import torch

from tests.data_factory import is_one_line
from tune_bio.errors import ConfigError
from tune_bio.ray_tune.failures import explain_failure

CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB"
CPU = "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"


@pytest.mark.parametrize(
    ("batch_size", "remedy"),
    [(64, "try batch_size=32"), (48, "try batch_size=32"), (5, "try batch_size=4"),
     (3, "try batch_size=2"), (2, "lower image_size")],
)  # fmt: skip
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError(CUDA), RuntimeError(CPU), MemoryError("out of memory")]
)
def test_out_of_memory_suggests_a_batch_size(
    tmp_path: Path, error: Exception, batch_size: int, remedy: str
) -> None:
    line = explain_failure(error, tmp_path, batch_size)
    assert line.startswith("out of memory: ")
    assert remedy in line
    assert ("try batch_size" in line) == (batch_size > 2)


def test_a_process_ended_by_ray_for_memory_suggests_a_batch_size(tmp_path: Path) -> None:
    line = explain_failure(ray.exceptions.OutOfMemoryError("memory pressure"), tmp_path, 64)
    assert line.startswith("out of memory: Ray ended the process")
    assert "try batch_size=32" in line


def test_an_error_of_tune_bio_is_reported_unchanged(tmp_path: Path) -> None:
    error = ConfigError("this is wrong", "do that")
    assert explain_failure(error, tmp_path, 8) == "this is wrong: do that"


def test_any_other_error_is_named_in_one_line(tmp_path: Path) -> None:
    line = explain_failure(KeyError("missing"), tmp_path, 8)
    assert line.startswith("KeyError: 'missing'")
    assert is_one_line(ValueError(line))
