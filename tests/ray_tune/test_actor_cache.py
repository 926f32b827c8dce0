"""Trials go on from one to the next in the processes that are there."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray.tune.execution import class_cache, tune_controller
from ray.tune.search import Searcher

from tune_bio.ray_tune.connection import connected
from tune_bio.ray_tune.ray_internals import UnboundedActorCache, reuse_worker_processes

TRIALS = 10


class AtOnce(tune.Trainable):
    """Ends when all that run beside it do: at the next full half second."""

    def setup(self, config: dict[str, Any]) -> None:
        pass

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True

    def step(self) -> dict[str, Any]:
        time.sleep(0.5 - time.time() % 0.5)
        return {"pid": os.getpid(), "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        pass


class Numbers(Searcher):  # type: ignore[misc]
    """Gives a number a trial; as with every searcher, no trial waits while others run."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.given = folder, 0

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self.given += 1
        return {"number": self.given, "folder": str(self.folder)}

    def on_trial_complete(self, *args: Any, **kwargs: Any) -> None:
        pass


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    with connected(None):
        yield


class SlowToBegin(AtOnce):
    """The second trial's process needs long to begin; the first trial ends long before."""

    def setup(self, config: dict[str, Any]) -> None:
        Path(config["folder"], f"begun_{os.getpid()}").touch()
        time.sleep(3 if config["number"] == 2 else 0)


@pytest.mark.parametrize("kind", [AtOnce, SlowToBegin])
def test_no_process_is_lost_while_trials_remain(
    local_ray: None, tmp_path: Path, kind: type[tune.Trainable]
) -> None:
    most = int(ray.cluster_resources()["CPU"])
    tuner = tune.Tuner(
        kind,
        tune_config=tune.TuneConfig(
            search_alg=Numbers(tmp_path),
            num_samples=TRIALS,
            max_concurrent_trials=most,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path / "tune"),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    with reuse_worker_processes():
        assert tune_controller._ObjectCache is UnboundedActorCache
        assert not class_cache.DEFAULT_ENV_VARS
        found = tuner.fit()
    assert len(found) == TRIALS
    assert not found.errors
    assert len({result.metrics["pid"] for result in found}) <= most
    if kind is SlowToBegin:
        assert len(list(tmp_path.glob("begun_*"))) <= most
    assert tune_controller._ObjectCache is not UnboundedActorCache
    assert class_cache.DEFAULT_ENV_VARS
