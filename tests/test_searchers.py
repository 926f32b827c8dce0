"""Searchers: asked and told without Ray's processes."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from ray.tune.search import Searcher

from tune_bio.config import SearchSettings, TrialConfig
from tune_bio.errors import SpaceError
from tune_bio.searchers import ListSearcher, OptunaSearcher
from tune_bio.space import SearchSpace, Trial
from tune_bio.survey import without

LITE = "timm:tf_efficientnet_lite0"


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


def draws(searcher: Any, count: int) -> list[dict[str, Any]]:
    return [searcher.suggest(f"tune{i}")["params"] for i in range(count)]


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_draws_are_valid_repeatable_and_follow_the_seed(name: str) -> None:
    def draw(seed: int) -> list[dict[str, Any]]:
        settings = SearchSettings(searcher=name, seed=seed)
        return draws(OptunaSearcher(space_of(transfer), settings, dict), 30)

    first = draw(0)
    assert first == draw(0) != draw(1)
    for params in first:
        TrialConfig.of(params)
        assert ("freeze" in params) == (params["weights"] == "imagenet")
        assert params["patience"] in (1, 3, 5, 7, 9)


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_weights_that_cannot_be_had_are_never_drawn(name: str) -> None:
    missing = frozenset({("resnet18", "imagenet"), ("squeezenet1_0", "imagenet")})
    space = without(space_of(transfer), missing)
    drawn = draws(OptunaSearcher(space, SearchSettings(searcher=name), dict), 60)
    pairs = {(params["model"], params["weights"]) for params in drawn}
    assert pairs == {
        ("resnet18", "none"), ("squeezenet1_0", "none"), (LITE, "none"), (LITE, "imagenet")
    }  # fmt: skip


def test_a_model_that_nothing_is_left_for_is_never_drawn() -> None:
    space = without(space_of(weights_first), frozenset({("resnet18", "imagenet")}))
    drawn = draws(OptunaSearcher(space, SearchSettings(), dict), 30)
    assert {params["model"] for params in drawn} == {LITE, "ann"}


def test_a_dead_end_is_drawn_again_and_an_endless_one_refused() -> None:
    everything = frozenset({("resnet18", "imagenet"), (LITE, "imagenet")})
    space = without(space_of(weights_first), everything)
    drawn = draws(OptunaSearcher(space, SearchSettings(), dict), 10)
    assert {params["model"] for params in drawn} == {"ann"}
    pinned = SearchSpace(
        Path("s.py"), "", weights_first, SearchSettings(), {"weights": "imagenet"}, everything
    )
    with pytest.raises(SpaceError, match="weights are missing"):
        OptunaSearcher(pinned, SearchSettings(), dict).suggest("tune0")


def test_one_name_may_have_other_choices_on_another_branch() -> None:
    def branched(trial: Trial) -> None:
        if trial.suggest_categorical("model", ["ann", "cnn"]) == "ann":
            trial.suggest_float("dropout", 0.5, 0.9)
        else:
            trial.suggest_categorical("dropout", [0.0, 0.2])

    drawn = draws(OptunaSearcher(space_of(branched), SearchSettings(), dict), 40)
    assert all(p["dropout"] >= 0.5 for p in drawn if p["model"] == "ann")
    assert {p["dropout"] for p in drawn if p["model"] == "cnn"} == {0.0, 0.2}


def test_optuna_is_told_complete_pruned_and_failed_trials_as_such() -> None:
    searcher = OptunaSearcher(space_of(transfer), SearchSettings(), dict)
    draws(searcher, 4)
    searcher.on_trial_result("tune0", {"epoch": 1, "val_auroc": 0.7})
    searcher.on_trial_complete(
        "tune0", {"epoch": 2, "val_auroc": 0.7, "best": 0.8, "finished": True}
    )
    searcher.on_trial_complete(
        "tune1", {"epoch": 2, "val_auroc": 0.6, "best": 0.6, "finished": False}
    )
    searcher.on_trial_complete("tune2", error=True)
    states = [trial.state for trial in searcher._study.trials]
    running, complete = optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.COMPLETE
    pruned, fail = optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL
    assert states == [complete, pruned, fail, running]
    assert searcher._study.best_value == 0.8
    assert searcher._study.trials[1].intermediate_values == {2: 0.6}


def test_tpe_learns_where_random_does_not() -> None:
    def share_of_good(name: str) -> float:
        settings = SearchSettings(searcher=name, seed=3)
        searcher = OptunaSearcher(space_of(transfer), settings, dict)
        good = 0
        for i in range(60):
            params = searcher.suggest(f"tune{i}")["params"]
            value = 0.9 if params["model"] == LITE and params["lr"] > 1e-3 else 0.5
            done = {"epoch": 1, "val_auroc": value, "best": value, "finished": True}
            searcher.on_trial_complete(f"tune{i}", done)
            good += value == 0.9 and i >= 30
        return good / 30

    assert share_of_good("tpe") > 2 * share_of_good("random")


def test_a_list_is_run_in_order_and_ends() -> None:
    searcher = ListSearcher([{"model": "ann"}, {"model": "cnn"}], lambda p: {**p, "seed": 7})
    assert searcher.suggest("a") == {"trial": "t0000", "params": {"model": "ann", "seed": 7}}
    assert searcher.suggest("b") == {"trial": "t0001", "params": {"model": "cnn", "seed": 7}}
    assert searcher.suggest("c") == Searcher.FINISHED
