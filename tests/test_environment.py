"""What is set before Ray and PyTorch are imported."""

import gc
import os
import subprocess
import sys

import pytest

from tune_bio.cluster import _preloading
from tune_bio.environment import importing

VARIABLE = "RAY_preload_python_modules"
KEEP_IDLE = "RAY_idle_worker_killing_time_threshold_ms"


def test_the_collector_rests_during_imports_and_passes_over_them_afterwards() -> None:
    before = gc.get_freeze_count()
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > before
    gc.unfreeze()


def test_the_collector_works_again_after_an_import_that_fails() -> None:
    with pytest.raises(ImportError), importing():
        raise ImportError
    assert gc.isenabled()
    gc.unfreeze()


def test_a_waiting_worker_imports_what_trials_need() -> None:
    script = "import tune_bio.worker, sys, gc; assert gc.isenabled(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert {"tune_bio.trainable", "torch", "ray.tune"} <= set(done.stdout.split())


@pytest.mark.parametrize("given", [None, "their.own"])
def test_what_workers_import_is_told_by_a_variable_that_a_user_may_have_set(
    monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if given is not None:
        monkeypatch.setenv(VARIABLE, given)
    with _preloading("some.module"):
        assert os.environ[VARIABLE] == (given or "some.module")
        assert KEEP_IDLE in os.environ
    assert os.environ.get(VARIABLE) == given
    assert KEEP_IDLE not in os.environ
    with _preloading(None):
        assert os.environ.get(VARIABLE) == given
