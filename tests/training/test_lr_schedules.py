"""Learning-rate schedules against their definitions and against PyTorch's schedulers."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import lr_scheduler

from tests.data_factory import config, examples, few_examples
from tune_bio.training.lr_schedules import Step, apply_schedule, lr_factor
from tune_bio.training.optimizer import build_optimizer


def _factors(epochs: int, **params: Any) -> list[float]:
    chosen = config(epochs=epochs, **params)
    return [lr_factor(chosen, Step(epoch, epochs)) for epoch in range(epochs)]


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
@examples
@given(epochs=st.integers(1, 60), warmup=st.integers(0, 70))
def test_the_warm_up_rises_linearly_and_the_rest_never_rises(
    schedule: str, epochs: int, warmup: int
) -> None:
    factors = _factors(epochs, lr_schedule=schedule, warmup_epochs=warmup)
    assert min(factors) > 0
    rise, rest = factors[:warmup], factors[warmup:]
    if rest:
        assert rest[0] == 1  # the peak is reached
        assert all(a >= b for a, b in itertools.pairwise(rest))
        np.testing.assert_allclose(np.diff([0, *rise, 1]), 1 / (warmup + 1))
    else:
        assert factors[-1] == 1


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"lr_schedule": "constant"}, [1, 1, 1, 1, 1, 1]),
        ({"lr_schedule": "step", "step_size": 2, "gamma": 0.1}, [1, 1, 0.1, 0.1, 0.01, 0.01]),
        (
            {"lr_schedule": "step", "step_size": 2, "gamma": 0.5, "warmup_epochs": 1},
            [0.5, 1, 1, 0.5, 0.5, 0.25],
        ),
        ({"lr_schedule": "cosine"}, [1, 0.9330127, 0.75, 0.5, 0.25, 0.0669873]),
        ({"lr_schedule": "cosine", "warmup_epochs": 4}, [0.2, 0.4, 0.6, 0.8, 1, 0.5]),
    ],
)
def test_a_schedule_sets_the_rate_of_each_epoch(
    params: dict[str, Any], expected: list[float]
) -> None:
    assert _factors(6, **params) == pytest.approx(expected, abs=1e-6)


def _pytorch_schedule(name: str, optimizer: Any, epochs: int, batches: int) -> Any:
    if name == "step":
        return lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.3)
    if name == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    return lr_scheduler.OneCycleLR(optimizer, 0.2, epochs=epochs, steps_per_epoch=batches)


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*before.*:UserWarning")
@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize("name", ["step", "cosine", "onecycle"])
@few_examples
@given(epochs=st.integers(2, 30), batches=st.integers(2, 7))
def test_rates_and_momentum_match_pytorch(name: str, kind: str, epochs: int, batches: int) -> None:
    params = {"step_size": 3, "gamma": 0.3} if name == "step" else {}
    chosen = config(lr=0.2, epochs=epochs, lr_schedule=name, optimizer=kind, **params)
    ours, theirs = (build_optimizer(chosen, [[nn.Parameter(torch.ones(1))]]) for _ in range(2))
    schedule = _pytorch_schedule(name, theirs, epochs, batches)
    for epoch in range(epochs):
        for batch in range(batches):
            apply_schedule(chosen, ours, Step(epoch, epochs, batch, batches))
            (our_group,), (their_group,) = ours.param_groups, theirs.param_groups
            assert our_group["lr"] == pytest.approx(their_group["lr"], rel=1e-9, abs=1e-12)
            for slot in ("betas", "momentum"):
                assert our_group.get(slot) == pytest.approx(their_group.get(slot))
            if name == "onecycle" and (epoch, batch) != (epochs - 1, batches - 1):
                schedule.step()
        if name != "onecycle":
            schedule.step()


def test_every_group_of_parameters_gets_the_rate() -> None:
    chosen = config(lr=0.5, lr_schedule="cosine", epochs=4)
    groups = [[nn.Parameter(torch.ones(1))], [nn.Parameter(torch.ones(2))]]
    optimizer = build_optimizer(chosen, groups)
    assert apply_schedule(chosen, optimizer, Step(2, 4)) == pytest.approx(0.25)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.25, 0.25])
