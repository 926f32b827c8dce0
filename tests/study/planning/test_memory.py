"""Memory: a trial that cannot fit is refused before anything starts; one that fits is not."""

import json
import math
import subprocess
import sys
from typing import Any

import pytest

from tests.data_factory import dataset, is_one_line
from tune_bio.errors import ResourceError
from tune_bio.ray_tune.resources import Allotment, Node
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study.planning.memory import GIB, PROCESS, estimate_memory, refuse_unfit

ONE, TWO = Allotment(1, 0, 1), Allotment(1, 0, 2)  # trials at a time
# A very wide ANN on images of 256 px.
HUGE = {"model": "ann", "width": "20000-256", "image_size": 256}
LAPTOP = (Node(2, 0, 16 * GIB),)


def _check(params: dict[str, Any], nodes: tuple[Node, ...], allotment: Allotment) -> list[str]:
    return refuse_unfit([TrialConfig.of(params)], dataset(n=600), nodes, allotment)


def test_a_huge_ann_is_refused_with_a_remedy() -> None:
    with pytest.raises(ResourceError, match=r"ann \(image_size=256.*width=20000-256\)") as caught:
        _check(HUGE, LAPTOP, ONE)
    assert "needs about 30" in str(caught.value)
    assert "no node has more than 16.0 GiB: lower width" in str(caught.value)
    assert is_one_line(caught.value)


def test_more_memory_or_an_optimizer_that_needs_less_makes_it_fit() -> None:
    assert _check(HUGE, (Node(2, 0, 64 * GIB),), ONE) == []
    without_moments = {**HUGE, "optimizer": "sgd", "momentum": 0.0}
    assert _check(without_moments, (Node(2, 0, 26 * GIB),), ONE) == []


def test_trials_that_fit_only_one_at_a_time_are_reported() -> None:
    (note,) = _check(HUGE, (Node(2, 0, 40 * GIB),), TWO)
    assert "--max-concurrent 1 fits" in note


def test_nothing_is_refused_if_the_memory_is_unknown() -> None:
    assert _check(HUGE, (Node(2, 0),), TWO) == []


def test_a_frozen_backbone_is_not_charged_for_fine_tuning() -> None:
    fine_tuned = {"model": "resnet50", "weights": "imagenet", "image_size": 224, "batch_size": 512}
    with pytest.raises(ResourceError, match="resnet50"):
        _check(fine_tuned, LAPTOP, ONE)
    assert _check({**fine_tuned, "freeze": "backbone"}, LAPTOP, ONE) == []


def test_a_trial_on_half_a_gpu_gets_half_of_its_memory() -> None:
    params = {"model": "resnet50", "image_size": 224, "batch_size": 128}
    node = (Node(8, 1, 64 * GIB, 16 * GIB),)
    assert _check(params, node, Allotment(1, 1, 1)) == []
    with pytest.raises(ResourceError, match="GPU memory"):
        _check(params, node, Allotment(1, 0.5, 2))


MEASURE = """
import json, sys, torch
from pathlib import Path
from tests.data_factory import trial_data
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.fit import train_epoch
from tune_bio.training.state import TrainingState

torch.set_num_threads(1)
config = TrialConfig.of(json.loads(sys.argv[1]))
data = trial_data(config, train=config.batch_size, val=200)


def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(field + ":")))


# Reset the peak: a process inherits that of its parent, and pytest's is large.
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
train_epoch(TrainingState(config, data), data)
print(memory("VmHWM") - before)
"""


@pytest.mark.parametrize(
    "params",
    [
        {"model": "ann", "width": 1000, "image_size": 224, "batch_size": 16},
        pytest.param({"model": "cnn", "image_size": 224, "batch_size": 64}, marks=pytest.mark.slow),
        {"model": "resnet18", "image_size": 128, "batch_size": 64},
        pytest.param(
            {"model": "densenet121", "image_size": 128, "batch_size": 32}, marks=pytest.mark.slow
        ),
        pytest.param(
            {"model": "vgg11", "image_size": 64, "batch_size": 32}, marks=pytest.mark.slow
        ),
    ],
    ids=lambda params: str(params["model"]),
)
@pytest.mark.slow
def test_the_estimate_is_close_to_the_memory_of_a_training_process(params: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(params)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    config = TrialConfig.of({"epochs": 1, **params})
    expected = estimate_memory(config, dataset(n=200), gpu=False).process - PROCESS
    assert 0.5 < float(done.stdout) / expected < 2, (float(done.stdout), expected)
    assert math.isfinite(expected)
