"""Worker processes are reused by one trial after another."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray.tune.execution import class_cache, tune_controller
from ray.tune.search import Searcher

from tune_bio.ray_tune.ray_internals import reuse_worker_processes

TRIALS = 10


class EndsInStep(tune.Trainable):
    """A trial that ends together with all running trials: at the next full half second."""

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
    """A searcher that numbers the trials; as with every searcher, no trial waits for others."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.count = folder, 0

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self.count += 1
        return {"number": self.count, "folder": str(self.folder)}

    def on_trial_complete(self, *args: Any, **kwargs: Any) -> None:
        pass


class SlowToStart(EndsInStep):
    """A trial whose second process starts slowly, long after the first trial has ended."""

    def setup(self, config: dict[str, Any]) -> None:
        Path(config["folder"], f"started_{os.getpid()}").touch()
        time.sleep(3 if config["number"] == 2 else 0)


@pytest.mark.parametrize("kind", [EndsInStep, SlowToStart])
def test_no_process_is_lost_while_trials_remain(
    cluster: None, tmp_path: Path, kind: type[tune.Trainable]
) -> None:
    max_processes = int(ray.cluster_resources()["CPU"])
    original_cache = tune_controller._ObjectCache
    tuner = tune.Tuner(
        kind,
        tune_config=tune.TuneConfig(
            search_alg=Numbers(tmp_path),
            num_samples=TRIALS,
            max_concurrent_trials=max_processes,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path / "tune"),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    with reuse_worker_processes():
        assert tune_controller._ObjectCache is not original_cache
        assert not class_cache.DEFAULT_ENV_VARS
        results = tuner.fit()
    assert len(results) == TRIALS
    assert not results.errors
    assert len({result.metrics["pid"] for result in results}) <= max_processes
    if kind is SlowToStart:
        assert len(list(tmp_path.glob("started_*"))) <= max_processes
    assert tune_controller._ObjectCache is original_cache
    assert class_cache.DEFAULT_ENV_VARS
