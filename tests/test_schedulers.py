"""Schedulers: what is compared with what."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune_bio.config import SearchSettings
from tune_bio.schedulers import HorizonASHA, build_scheduler, rungs


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_epochs": 20, "grace_period": 2}, (2, 6, 18)),
        ({"max_epochs": 18, "grace_period": 2}, (2, 6)),
        ({"max_epochs": 6, "grace_period": 1, "reduction_factor": 2}, (1, 2, 4)),
        ({"max_epochs": 5, "grace_period": 5}, ()),
        ({"scheduler": "none"}, ()),
    ],
)
def test_rungs(settings: dict[str, Any], expected: tuple[int, ...]) -> None:
    assert rungs(SearchSettings(**settings)) == expected


def test_none_never_stops() -> None:
    assert type(build_scheduler(SearchSettings(scheduler="none"))) is FIFOScheduler


def _decisions(trials: list[tuple[dict[str, Any], float]], mode: str = "val_auroc") -> list[str]:
    settings = SearchSettings(max_epochs=20, grace_period=2, metric=mode)
    scheduler = HorizonASHA(settings)
    decisions = []
    for number, (params, value) in enumerate(trials):
        trial = SimpleNamespace(trial_id=str(number), config={"params": params})
        scheduler.on_trial_add(None, trial)
        result = {"epoch": 2, mode: value}
        decisions.append(scheduler.on_trial_result(None, trial, result))
    return decisions


GO, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP
STEP = {"lr_schedule": "step", "epochs": 20}
COSINE = {"lr_schedule": "cosine", "epochs": 20}


def test_the_worse_of_two_stops_at_a_rung() -> None:
    assert _decisions([(STEP, 0.9), (STEP, 0.5)]) == [GO, STOP]
    assert _decisions([(STEP, 0.3), (STEP, 0.5)], mode="val_loss") == [GO, STOP]


def test_cosine_trials_of_other_lengths_are_not_compared() -> None:
    short = {**COSINE, "epochs": 10}
    assert _decisions([(short, 0.9), (COSINE, 0.5), (COSINE, 0.4)]) == [GO, GO, STOP]


def test_schedules_that_ignore_the_length_share_a_bracket() -> None:
    short = {**STEP, "epochs": 10}
    constant = {"lr_schedule": "constant", "epochs": 5}
    assert _decisions([(short, 0.9), (STEP, 0.5), (constant, 0.4)]) == [GO, STOP, STOP]
