"""Settings that are made before Ray and PyTorch are imported."""

import gc
import os
import subprocess
import sys

import pytest

from tune_bio.common.imports import importing
from tune_bio.ray_tune.environment import _DEFAULTS, prepare_environment


def test_garbage_collection_pauses_during_imports_and_then_skips_their_objects() -> None:
    before = gc.get_freeze_count()
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > before
    gc.unfreeze()


def test_rays_variables_are_set_and_a_users_choice_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "7")
    prepare_environment()
    assert os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] == "1"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert os.environ["TUNE_GLOBAL_CHECKPOINT_S"] == "7"


def test_garbage_collection_resumes_after_a_failed_import() -> None:
    with pytest.raises(ImportError), importing():
        raise ImportError
    assert gc.isenabled()
    gc.unfreeze()


def test_an_idle_worker_imports_the_modules_of_a_trial() -> None:
    script = (
        "import tune_bio.ray_tune.worker_preload, sys, gc\n"
        "assert gc.isenabled()\n"
        "print(*sys.modules)"
    )
    completed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert {"tune_bio.ray_tune.trainable", "torch", "ray.tune"} <= set(completed.stdout.split())
