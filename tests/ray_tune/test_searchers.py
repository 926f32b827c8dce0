"""Searchers, without Ray's processes: suggestions, and the results that they learn from."""

import math
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from ray.tune.search import Searcher

from tests.data_factory import config
from tune_bio.errors import SpaceError
from tune_bio.ray_tune.jobs import Job, job
from tune_bio.ray_tune.optuna_searcher import GaussianProcessSearcher, OptunaSearcher
from tune_bio.ray_tune.searchers import FollowUpSearcher, ListSearcher, build_searcher
from tune_bio.ray_tune.trial_report import TrialReport
from tune_bio.records.recorded_trial import RecordedTrial
from tune_bio.space.branches import without_unavailable
from tune_bio.space.search_space import SearchSpace, Trial
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import TrialConfig
from tune_bio.space.value_sources import RecordedSource

LITE = "timm:tf_efficientnet_lite0"
COMPLETE, PRUNED = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED
FAIL, RUNNING = optuna.trial.TrialState.FAIL, optuna.trial.TrialState.RUNNING


def transfer(trial: Trial) -> None:
    trial.suggest_categorical("model", ["resnet18", "squeezenet1_0", LITE])
    if trial.suggest_categorical("weights", ["none", "imagenet"]) != "none":
        trial.suggest_categorical("freeze", ["none", "backbone", "lp_ft"])
    trial.suggest_float("lr", 1e-5, 1e-2, log=True)
    trial.suggest_int("patience", 1, 9, step=2)


def weights_first(trial: Trial) -> None:
    weights = trial.suggest_categorical("weights", ["imagenet", "none"])
    trial.suggest_categorical("model", ["resnet18", LITE] if weights == "imagenet" else ["ann"])


def space_of(function: Any) -> SearchSpace:
    return SearchSpace(Path("space.py"), "", function, SearchSettings())


def complete(params: dict[str, Any]) -> TrialConfig:
    """Complete drawn hyperparameters with defaults."""
    return TrialConfig.of(params)


def result_of(
    epoch: int, value: float, best: float, *, finished: bool, diverged: bool = False
) -> dict[str, Any]:
    """Return a result as Tune passes it to a searcher."""
    report = TrialReport(
        epoch=epoch, value=value, best=best, finished=finished, diverged=diverged, rows=[],
        reused_from=None, reused_epochs=0, node="here", gpu=None, parameters=1,
        trainable_parameters=1,
    )  # fmt: skip
    return report.to_result("val_auroc")


def draws(searcher: Any, count: int) -> list[dict[str, Any]]:
    return [searcher.suggest(f"tune{i}")["params"] for i in range(count)]


def searcher_of(function: Any, name: str, seed: int = 0, **settings: Any) -> Any:
    chosen = SearchSettings(searcher=name, seed=seed, **settings)
    return build_searcher(space_of(function), chosen, None, complete)


def play(
    searcher: Any, value: Callable[[dict[str, Any]], float], trials: int, concurrent: int = 1
) -> list[dict[str, Any]]:
    """Ask for `trials` configurations and report their values; the last trials keep running.

    Every third trial ends early, as if a scheduler had stopped it.
    """
    drawn: list[dict[str, Any]] = []
    running: deque[int] = deque()
    for number in range(trials):
        drawn.append(searcher.suggest(f"tune{number}")["params"])
        running.append(number)
        if len(running) == concurrent:
            first = running.popleft()
            reached = value(drawn[first])
            result = result_of(1, reached, reached, finished=first % 3 > 0)
            searcher.on_trial_complete(f"tune{first}", result)
    return drawn


def goodness(params: dict[str, Any]) -> float:
    """Return a score that depends mostly on the learning rate, with its maximum at 0.003."""
    return 1 - abs(math.log10(params["lr"]) + 2.5) / 3 - 0.01 * len(params["model"]) / 30


@pytest.mark.parametrize("name", ["tpe", "random", "gp"])
def test_draws_are_valid_repeatable_and_follow_the_seed(name: str) -> None:
    def draw(seed: int) -> list[dict[str, Any]]:
        return play(searcher_of(transfer, name, seed), goodness, 24, concurrent=3)

    first = draw(0)
    assert first == draw(0) != draw(1)
    for params in first:
        TrialConfig.of(params)
        assert params["weights"] == "imagenet" or params["freeze"] == "none"
        assert params["patience"] in (1, 3, 5, 7, 9)


@pytest.mark.parametrize("name", ["tpe", "random", "gp"])
def test_unavailable_weights_are_never_drawn(name: str) -> None:
    missing = frozenset({("resnet18", "imagenet"), ("squeezenet1_0", "imagenet")})
    space = without_unavailable(space_of(transfer), missing)
    searcher = build_searcher(space, SearchSettings(searcher=name), None, complete)
    drawn = draws(searcher, 40) + play(searcher, goodness, 20)
    pairs = {(params["model"], params["weights"]) for params in drawn}
    assert pairs == {
        ("resnet18", "none"), ("squeezenet1_0", "none"), (LITE, "none"), (LITE, "imagenet")
    }  # fmt: skip


def test_a_model_without_available_weights_is_never_drawn() -> None:
    space = without_unavailable(space_of(weights_first), frozenset({("resnet18", "imagenet")}))
    drawn = draws(OptunaSearcher(space, SearchSettings(), complete), 30)
    assert {params["model"] for params in drawn} == {LITE, "ann"}


def test_a_dead_end_is_drawn_again_and_a_space_of_dead_ends_is_refused() -> None:
    missing = frozenset({("resnet18", "imagenet"), (LITE, "imagenet")})
    space = without_unavailable(space_of(weights_first), missing)
    drawn = draws(OptunaSearcher(space, SearchSettings(), complete), 10)
    assert {params["model"] for params in drawn} == {"ann"}
    pinned = SearchSpace(
        Path("s.py"), "", weights_first, SearchSettings(), {"weights": "imagenet"}, missing
    )
    with pytest.raises(SpaceError, match="weights are missing"):
        OptunaSearcher(pinned, SearchSettings(), complete).suggest("tune0")


def test_a_hyperparameter_may_have_different_choices_on_each_branch() -> None:
    def branched(trial: Trial) -> None:
        if trial.suggest_categorical("model", ["ann", "cnn"]) == "ann":
            trial.suggest_float("dropout", 0.5, 0.9)
        else:
            trial.suggest_categorical("dropout", [0.0, 0.2])

    drawn = draws(OptunaSearcher(space_of(branched), SearchSettings(), complete), 40)
    assert all(p["dropout"] >= 0.5 for p in drawn if p["model"] == "ann")
    assert {p["dropout"] for p in drawn if p["model"] == "cnn"} == {0.0, 0.2}


def test_complete_pruned_and_failed_trials_are_reported_to_optuna_as_such() -> None:
    searcher = OptunaSearcher(space_of(transfer), SearchSettings(), complete)
    draws(searcher, 4)
    searcher.on_trial_result("tune0", result_of(1, 0.7, 0.7, finished=False))
    searcher.on_trial_complete("tune0", result_of(2, 0.7, 0.8, finished=True))
    searcher.on_trial_complete("tune1", result_of(2, 0.6, 0.6, finished=False))
    searcher.on_trial_complete("tune2", error=True)
    states = [trial.state for trial in searcher._study.trials]
    assert states == [COMPLETE, PRUNED, FAIL, RUNNING]
    assert searcher._study.best_value == 0.8
    assert searcher._study.trials[1].intermediate_values == {2: 0.6}


def test_tpe_learns_and_random_does_not() -> None:
    def share_of_good(name: str) -> float:
        settings = SearchSettings(searcher=name, seed=3)
        searcher = OptunaSearcher(space_of(transfer), settings, complete)
        good = 0
        for i in range(60):
            params = searcher.suggest(f"tune{i}")["params"]
            value = 0.9 if params["model"] == LITE and params["lr"] > 1e-3 else 0.5
            searcher.on_trial_complete(f"tune{i}", result_of(1, value, value, finished=True))
            good += value == 0.9 and i >= 30
        return good / 30

    assert share_of_good("tpe") > 2 * share_of_good("random")


def learning_rate_only(trial: Trial) -> None:
    trial.suggest_categorical("model", ["ann"])
    trial.suggest_float("lr", 1e-5, 1e-1, log=True)


def test_gp_finds_better_values_than_random_in_as_many_trials() -> None:
    def mean_best(name: str) -> float:
        played = [
            play(searcher_of(learning_rate_only, name, seed), goodness, 20) for seed in range(5)
        ]
        return float(np.mean([max(map(goodness, drawn)) for drawn in played]))

    ceiling = goodness({"lr": 10**-2.5, "model": "ann"})
    random, gp = mean_best("random"), mean_best("gp")
    assert gp > random
    assert ceiling - gp < (ceiling - random) / 4


def test_gp_improves_in_a_conditional_space_with_concurrent_trials() -> None:
    drawn = play(searcher_of(transfer, "gp"), goodness, 36, concurrent=4)
    early, late = (np.mean([goodness(p) for p in part]) for part in (drawn[:12], drawn[-12:]))
    assert late > early + 0.1
    rates = [params["lr"] for params in drawn[-4:]]
    assert len(set(rates)) == 4  # running configurations are not proposed again


def test_gp_avoids_branches_with_missing_weights() -> None:
    """Dead ends are never reported to it, and unexplored regions look promising."""
    missing = frozenset({("resnet18", "imagenet"), (LITE, "imagenet")})
    space = without_unavailable(space_of(weights_first), missing)
    searcher = build_searcher(space, SearchSettings(searcher="gp"), None, complete)
    for number in range(16):
        assert searcher.suggest(f"tune{number}")["params"]["model"] == "ann"
        result = result_of(1, 0.5, 0.5, finished=True)
        searcher.on_trial_complete(f"tune{number}", result)
    assert len(searcher._study.trials) < 100  # dead ends were not drawn over and over


def test_gp_does_not_change_global_generators_and_threads() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    numpy_state = np.random.get_state()[1]
    searcher = searcher_of(learning_rate_only, "gp")
    assert type(searcher) is GaussianProcessSearcher
    play(searcher, goodness, 13)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_gp_learns_from_stopped_trials_and_tolerates_diverged_trials() -> None:
    searcher = searcher_of(transfer, "gp", metric="val_loss")
    draws(searcher, 5)

    def end(number: int, best: float, **result: bool) -> None:
        searcher.on_trial_complete(f"tune{number}", result_of(2, best, best, **result))

    end(0, 1e6, finished=True, diverged=True)  # no trial to compare it with
    end(1, 0.4, finished=True)
    end(2, 0.9, finished=False)
    end(3, 1e6, finished=True, diverged=True)
    outcomes = [(trial.state, trial.value) for trial in searcher._study.trials]
    assert outcomes[0] == (FAIL, None)
    assert outcomes[1:4] == [(COMPLETE, 0.4), (COMPLETE, 0.9), (COMPLETE, 0.9)]
    assert outcomes[4][0] == RUNNING


def test_a_list_is_run_in_order_and_ends() -> None:
    jobs = [job([(f"t000{k}", config("ann", epochs=k + 1))]) for k in range(2)]
    searcher = ListSearcher(jobs)
    assert searcher.suggest("a") == jobs[0]
    assert searcher.suggest("b") == jobs[1]
    assert searcher.suggest("c") == Searcher.FINISHED


def test_stages_after_a_search_are_requested_until_none_follows() -> None:
    stages = iter([["r1", "r2"], ["a1"], []])
    requests = []

    def then() -> list[Job]:
        requests.append(len(requests))
        return [job([(name, config("ann"))]) for name in next(stages)]

    first = ListSearcher([job([("t0000", config("ann"))])])
    searcher = FollowUpSearcher(first, 1, then)

    def suggest(trial_id: str) -> object:
        suggested = searcher.suggest(trial_id)
        return suggested["trial"] if isinstance(suggested, dict) else suggested

    assert suggest("1") == "t0000"
    assert (suggest("2"), requests) == (None, [])  # the first trial is still running
    searcher.on_trial_complete("1", {})
    assert [suggest("3"), suggest("4"), suggest("5")] == ["r1", "r2", None]
    searcher.on_trial_complete("3", {})
    assert (suggest("6"), requests) == (None, [0])
    searcher.on_trial_complete("4", None, error=True)
    assert suggest("7") == "a1"
    searcher.on_trial_complete("7", {})
    assert suggest("8") == Searcher.FINISHED
    assert requests == [0, 1, 2]


def zeros_last(trial: Trial) -> None:
    trial.suggest_categorical("model", ["ann"])
    trial.suggest_float("lr", 1e-4, 1e-2, log=True)
    trial.suggest_categorical("weight_decay", [1e-2, 1e-4, 0])


def test_a_recorded_zero_matches_the_zero_in_the_list() -> None:
    """The tables store it as 0.0."""
    source = RecordedSource({"model": "ann", "lr": 0.001, "weight_decay": 0.0}, {})
    params = space_of(zeros_last).run(source)
    assert (params["weight_decay"], source.drawn["weight_decay"]) == (0, 0)


def test_a_resumed_search_knows_the_outcome_of_every_trial() -> None:
    """States, values and drawn hyperparameters are those of an uninterrupted search."""
    ended = {
        "completed": (COMPLETE, 0.9), "stopped_early": (PRUNED, 0.6), "diverged": (COMPLETE, 0.0),
        "failed": (FAIL, None),
    }  # fmt: skip
    past = []
    for position, status in enumerate([*ended, "interrupted"]):
        params = {"model": "ann", "lr": 0.001 * (position + 1), "weight_decay": 1e-4, "seed": 0}
        best = 0.0 if status == "diverged" else 0.9
        steps = () if status == "failed" else ((1, best), (2, 0.6))
        past.append(RecordedTrial(f"t{position:04d}", complete(params), status, steps, best))
    searcher = OptunaSearcher(space_of(zeros_last), SearchSettings(), complete, past)
    restored = searcher._study.trials
    assert [(trial.state, trial.value) for trial in restored] == list(ended.values())
    assert restored[1].intermediate_values == {2: 0.6}
    for trial, record in zip(restored, past, strict=False):
        assert trial.params == {
            name: record.config.params()[name] for name in ("lr", "weight_decay")
        }
    again = searcher.suggest("ray0")
    assert (again["trial"], again["params"]["lr"], again["skip_to"]) == ("t0004", 0.005, 2)
    assert searcher.suggest("ray1")["trial"] == "t0005"


@pytest.mark.parametrize("recorded", [["t0001"], ["t0000", "t0001", "t0003"]])
def test_a_recorded_name_is_never_reused(recorded: list[str]) -> None:
    """Concurrent trials may have left a gap."""
    params = {"model": "ann", "lr": 0.001, "weight_decay": 0.0, "epochs": 2, "seed": 0}
    past = [
        RecordedTrial(trial, complete(params), "completed", ((1, 0.5), (2, 0.6)), 0.6)
        for trial in recorded
    ]
    searcher = OptunaSearcher(space_of(zeros_last), SearchSettings(), complete, past)
    names = [searcher.suggest(f"ray{k}")["trial"] for k in range(3)]
    assert len({*names, *recorded}) == 3 + len(recorded)
