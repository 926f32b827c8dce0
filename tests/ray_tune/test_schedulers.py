"""Schedulers: which trials are compared, and which are stopped."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import FIFOScheduler, MedianStoppingRule, TrialScheduler

from tune_bio.ray_tune.schedulers import PerLengthScheduler, build_scheduler
from tune_bio.records.recorded_trial import RecordedTrial
from tune_bio.space.settings import SearchSettings, rungs
from tune_bio.space.trial_config import LENGTH_BOUND_SCHEDULES, TrialConfig

GO, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP
STEP = {"lr_schedule": "step", "epochs": 20}
COSINE = {"lr_schedule": "cosine", "epochs": 20}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_epochs": 20, "grace_period": 2}, (2, 6, 18)),
        ({"max_epochs": 18, "grace_period": 2}, (2, 6)),
        ({"max_epochs": 6, "grace_period": 1, "reduction_factor": 2}, (1, 2, 4)),
        ({"max_epochs": 5, "grace_period": 5}, ()),
        ({"scheduler": "none"}, ()),
        ({"scheduler": "median", "max_epochs": 6, "grace_period": 2}, (2, 3, 4, 5)),
        ({"scheduler": "median", "max_epochs": 5, "grace_period": 5}, ()),
    ],
)
def test_rungs(settings: dict[str, Any], expected: tuple[int, ...]) -> None:
    assert rungs(SearchSettings(**settings)) == expected


def test_the_scheduler_none_never_stops_a_trial() -> None:
    assert type(build_scheduler(SearchSettings(scheduler="none"))) is FIFOScheduler


@dataclass(eq=False)
class FakeTrial:
    """The attributes of Tune's trial that a scheduler reads, and the number of epochs it ran."""

    trial_id: str
    params: dict[str, Any]
    curve: Sequence[float]
    epochs: int = 0
    decision: str = GO
    config: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.config = {"trial": self.trial_id, "params": {"model": "ann", **self.params}}

    @property
    def ended(self) -> bool:
        return self.decision == STOP or self.epochs == len(self.curve)


def run(settings: SearchSettings, *trials: tuple[dict[str, Any], Sequence[float]]) -> list[int]:
    """Run all trials concurrently, each with its own curve; return the epochs that each ran."""
    scheduler = build_scheduler(settings)
    fakes = [FakeTrial(f"t{i:04d}", params, curve) for i, (params, curve) in enumerate(trials)]
    for trial in fakes:
        scheduler.on_trial_add(None, trial)
    while not all(trial.ended for trial in fakes):
        for trial in (t for t in fakes if not t.ended):
            _advance(scheduler, trial, settings.metric)
    return [trial.epochs for trial in fakes]


def _advance(scheduler: TrialScheduler, trial: FakeTrial, metric: str) -> None:
    """Run one epoch and report it to the scheduler as Tune does."""
    result = {"epoch": trial.epochs + 1, metric: trial.curve[trial.epochs], "rows": []}
    trial.epochs += 1
    last = trial.epochs == len(trial.curve)
    if not last:
        trial.decision = scheduler.on_trial_result(None, trial, result)
        assert trial.decision in (GO, STOP)  # a paused trial would be saved and loaded again
    if last or trial.decision == STOP:
        scheduler.on_trial_complete(None, trial, {**result, "done": True})


def flat(value: float, epochs: int = 10) -> list[float]:
    return [value] * epochs


def asha(**settings: Any) -> SearchSettings:
    return SearchSettings(max_epochs=10, grace_period=2, **settings)


def median(**settings: Any) -> SearchSettings:
    return asha(scheduler="median", **settings)


def test_asha_stops_the_worse_of_two_at_a_rung() -> None:
    assert run(asha(), (STEP, flat(0.9)), (STEP, flat(0.5))) == [10, 2]
    loss = asha(metric="val_loss")
    assert run(loss, (STEP, flat(0.3)), (STEP, flat(0.5))) == [10, 2]


def test_median_stops_a_clearly_worse_trial_at_the_end_of_the_grace_period() -> None:
    good = [(STEP, flat(value)) for value in (0.8, 0.85, 0.9)]
    assert run(median(), *good, (STEP, flat(0.5))) == [10, 10, 10, 2]
    low = [(STEP, flat(value)) for value in (0.3, 0.2, 0.1)]
    assert run(median(metric="val_loss"), *low, (STEP, flat(0.5))) == [10, 10, 10, 2]


@pytest.mark.parametrize("grace", [1, 4, 9])
def test_median_waits_for_the_grace_period(grace: int) -> None:
    settings = SearchSettings(scheduler="median", max_epochs=10, grace_period=grace)
    good = [(STEP, flat(value)) for value in (0.8, 0.85, 0.9)]
    assert run(settings, *good, (STEP, flat(0.1)))[-1] == grace


def test_median_needs_at_least_three_other_trials() -> None:
    good = [(STEP, flat(0.8)), (STEP, flat(0.9))]
    assert run(median(), *good, (STEP, flat(0.1))) == [10, 10, 10]


def test_median_stops_at_any_epoch() -> None:
    rising = [0.5 + 0.04 * epoch for epoch in range(10)]
    good = [(STEP, rising)] * 4
    levelled = [min(value, 0.6) for value in rising]
    *others, epochs = run(median(), *good, (STEP, levelled))
    assert others == [10, 10, 10, 10]
    assert 2 < epochs < 10


def test_median_never_stops_the_best_so_far() -> None:
    rng = np.random.default_rng(0)
    stopped = 0
    for _ in range(20):
        curves = np.clip(rng.normal(0.7, 0.1, (8, 1)) + rng.normal(0, 0.05, (8, 10)), 0, 1)
        epochs = run(median(), *((STEP, curve.tolist()) for curve in curves))
        for own, ran in zip(curves, epochs, strict=True):
            assert ran >= 2
            if ran < 10:
                stopped += 1
                assert curves[:, :ran].max() > own[:ran].max()
    assert stopped > 20


def test_median_compares_the_best_epoch_so_far() -> None:
    good = [(STEP, flat(value)) for value in (0.7, 0.72, 0.74)]
    fallen = [0.4, 0.9, *flat(0.1, 8)]
    assert run(median(), *good, (STEP, fallen)) == [10, 10, 10, 10]


def test_median_counts_the_last_epoch_of_a_stopped_trial_once() -> None:
    scheduler = PerLengthScheduler(median())
    trials = [FakeTrial(f"t000{i}", STEP, flat(0.9)) for i in range(3)]
    trials.append(FakeTrial("t0003", STEP, flat(0.1)))
    for trial in trials:
        scheduler.on_trial_add(None, trial)
        while not trial.ended:
            _advance(scheduler, trial, "val_auroc")
    assert trials[-1].decision == STOP
    assert _epochs_known(scheduler, trials[-1]) == [1, 2]
    assert _epochs_known(scheduler, trials[0]) == list(range(1, 11))


def _epochs_known(scheduler: PerLengthScheduler, trial: FakeTrial) -> list[int]:
    (rule,) = scheduler._brackets.values()
    assert isinstance(rule, MedianStoppingRule)
    return [result["epoch"] for result in rule._results[trial]]


@pytest.mark.parametrize("settings", [asha(), median()])
def test_a_trial_that_was_interrupted_before_its_first_result_is_ignored(
    settings: SearchSettings,
) -> None:
    scheduler = build_scheduler(settings)
    trials = [FakeTrial(f"t000{i}", STEP, flat(0.5)) for i in range(2)]
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    scheduler.on_trial_complete(None, trials[0], {})
    while not trials[1].ended:
        _advance(scheduler, trials[1], settings.metric)
    assert trials[1].epochs == 10


def test_median_stores_numbers_and_no_predictions() -> None:
    scheduler = PerLengthScheduler(median())
    trial = FakeTrial("t0000", STEP, [])
    scheduler.on_trial_add(None, trial)
    result = {"epoch": 2, "val_auroc": 0.5, "probabilities": [0.1] * 1000, "rows": [{}]}
    scheduler.on_trial_result(None, trial, result)
    (rule,) = scheduler._brackets.values()
    assert isinstance(rule, MedianStoppingRule)
    assert rule._results[trial] == [{"epoch": 2, "val_auroc": 0.5}]
    assert len(result) == 4


# Four trials of ten epochs do well, one of twenty badly.
GOOD = [flat(0.8), flat(0.85), flat(0.9), flat(0.95)]


@pytest.mark.parametrize("scheduler", ["asha", "median"])
@pytest.mark.parametrize("schedule", LENGTH_BOUND_SCHEDULES)
def test_trials_whose_schedule_depends_on_their_length_are_compared_at_equal_length_only(
    scheduler: str, schedule: str
) -> None:
    settings = SearchSettings(scheduler=scheduler, max_epochs=20, grace_period=2)
    params = {"lr_schedule": schedule}
    short = [({**params, "epochs": 10}, curve) for curve in reversed(GOOD)]
    long, equal = ({**params, "epochs": n} for n in (20, 10))
    assert run(settings, *short, (long, flat(0.1, 20)))[-1] == 20
    assert run(settings, *short, (equal, flat(0.1, 10)))[-1] == 2


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_schedules_that_ignore_the_length_share_a_bracket(scheduler: str) -> None:
    settings = SearchSettings(scheduler=scheduler, max_epochs=20, grace_period=2)
    short = [({**STEP, "epochs": 10}, curve) for curve in reversed(GOOD)]
    constant = {"lr_schedule": "constant", "epochs": 20}
    assert run(settings, *short, (STEP, flat(0.1, 20)), (constant, flat(0.1, 20)))[-2:] == [2, 2]
    assert run(settings, *short, (COSINE, flat(0.1, 20)))[-1] == 20


def test_tune_may_set_only_the_metric_of_the_settings() -> None:
    scheduler = PerLengthScheduler(median())
    assert scheduler.metric == "val_auroc"
    assert scheduler.set_search_properties("val_auroc", "max")
    assert scheduler.set_search_properties(None, None)
    assert not scheduler.set_search_properties("val_loss", "min")


def past(trial: str, curve: Sequence[float], status: Any = "completed") -> RecordedTrial:
    steps = tuple(enumerate(curve, start=1))
    config = TrialConfig.of({"model": "ann", "epochs": 10})
    return RecordedTrial(trial, config, status, steps, max(curve, default=0.0))


@pytest.mark.parametrize("settings", [asha(), median()], ids=["asha", "median"])
def test_a_resumed_study_compares_with_earlier_trials(settings: SearchSettings) -> None:
    before = [past(f"t000{n}", flat(0.9)) for n in range(4)]
    worse = FakeTrial("t0009", {"epochs": 10}, flat(0.5))
    for recorded, epochs in ((before, 2), ([], 10)):
        scheduler = build_scheduler(settings, recorded)
        trial = replace(worse)
        scheduler.on_trial_add(None, trial)
        while not trial.ended:
            _advance(scheduler, trial, settings.metric)
        assert trial.epochs == epochs


@pytest.mark.parametrize("settings", [asha(), median()], ids=["asha", "median"])
def test_a_resumed_trial_is_not_judged_again_at_rungs_that_it_has_passed(
    settings: SearchSettings,
) -> None:
    before = [past(f"t000{n}", flat(0.9)) for n in range(4)]
    interrupted = past("t0004", flat(0.5, epochs=5), "interrupted")
    scheduler = build_scheduler(settings, [*before, interrupted])
    trial = FakeTrial("t0005", {"epochs": 10}, flat(0.95), epochs=4)
    trial.config["trial"] = "t0004"
    scheduler.on_trial_add(None, trial)
    while not trial.ended:
        _advance(scheduler, trial, settings.metric)
    assert trial.epochs == 10


def test_the_rungs_of_a_resumed_study_keep_their_values() -> None:
    curves = [[0.1 * n + 0.01 * epoch for epoch in range(10)] for n in range(5)]
    live = build_scheduler(asha())
    for number, curve in enumerate(reversed(curves)):
        trial = FakeTrial(f"t000{number}", {"epochs": 10}, curve)
        live.on_trial_add(None, trial)
        while not trial.ended:
            _advance(live, trial, "val_auroc")
    recorded_trials = [past(f"t000{n}", curve) for n, curve in enumerate(reversed(curves))]
    resumed = build_scheduler(asha(), recorded_trials)
    ((_, before),) = live._brackets.items()
    ((_, after),) = resumed._brackets.items()
    for (milestone, recorded), (again, refilled) in zip(
        before._brackets[0]._rungs, after._brackets[0]._rungs, strict=True
    ):
        assert milestone == again
        assert all(refilled[trial] == value for trial, value in recorded.items())
