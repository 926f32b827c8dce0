"""What a dry run says that a study will cost: the search, and what follows it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tune_bio.common.labels import format_duration
from tune_bio.ray_tune.resources import Node
from tune_bio.space.search_space import load_search_space
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study import cost_estimate
from tune_bio.study.console import print_dry_run
from tune_bio.study.frozen_features import plan_features
from tune_bio.study.planning.plan import FollowUpTrials, Plan, follow_up_trials
from tune_bio.study.planning.preflight import make_plan
from tune_bio.study.request import Request

SPACE = """
def search_space(trial):
    trial.suggest_categorical("model", ["ann"])
    trial.suggest_categorical("lr_schedule", ["constant"])
    trial.suggest_categorical("batch_size", [8, 16, 32, 48, 64, 128])
    trial.suggest_categorical("depth", [1, 2])
    trial.suggest_float("dropout", 0.0, 0.5)
"""
GRID = """
def search_space(trial):
    trial.suggest_categorical("model", ["ann"])
    trial.suggest_categorical("lr_schedule", ["constant"])
    trial.suggest_categorical("epochs", [2, 4, 6])
"""
Make = Callable[..., Plan]


@pytest.fixture
def plan(tmp_path: Path, tiny_npz: Path) -> Make:
    def make(space: str = SPACE, **settings: Any) -> Plan:
        path = tmp_path / "space.py"
        path.write_text(space)
        chosen = {"data": str(tiny_npz), "num_trials": 10, "max_epochs": 6, **settings}
        asked = Request(name="study", results=tmp_path / "results")
        loaded, nodes = load_search_space(path), (Node(2, 0),)
        return make_plan(loaded, SearchSettings.of(chosen), asked, nodes)

    return make


@pytest.fixture(autouse=True)
def _a_second_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked here is what is counted, and not how fast the machine is."""

    def seconds(plan: Plan, frozen: Any, config: TrialConfig) -> float:
        return 1.0

    monkeypatch.setattr(cost_estimate, "_epoch_seconds", seconds)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"finalists": 0}, FollowUpTrials(0, 0, 0)),
        ({"finalists": 2, "replicates": 3}, FollowUpTrials(6, 0, 0)),
        ({"finalists": 20, "replicates": 3}, FollowUpTrials(30, 0, 0)),  # there are ten trials
        ({"finalists": 2, "replicates": 3, "resplit": True}, FollowUpTrials(6, 6, 0)),
        # Four other batch sizes of five, one other depth, dropout up and down.
        ({"finalists": 2, "replicates": 3, "ablate": True}, FollowUpTrials(6, 0, 21)),
    ],
)
def test_what_follows_a_search(plan: Make, settings: Any, expected: FollowUpTrials) -> None:
    assert follow_up_trials(plan(**settings)) == expected


def test_of_a_grid_that_is_replicated_whole_the_search_is_the_first_seed(plan: Make) -> None:
    whole = plan(GRID, searcher="grid", finalists="all", replicates=3, resplit=True, ablate=True)
    assert follow_up_trials(whole) == FollowUpTrials(6, 9, 0)


def test_a_search_costs_its_trials_and_what_follows(plan: Make) -> None:
    made = plan(grace_period=2, finalists=2, replicates=3)
    cost = cost_estimate.estimate_cost(made, plan_features(made))
    at_once = made.allotment.concurrent
    assert cost.longest == pytest.approx(10 * 6 / at_once)
    assert cost.shortest == pytest.approx(10 * 2 / at_once)
    assert (cost.trials, cost.afterwards) == (6, pytest.approx(6 * 6 / at_once))


def test_common_epochs_of_a_grid_are_counted_once(plan: Make) -> None:
    made = plan(GRID, searcher="grid", scheduler="none", finalists="all", replicates=3)
    cost = cost_estimate.estimate_cost(made, plan_features(made))
    at_once = made.allotment.concurrent
    assert cost.longest == cost.shortest == pytest.approx(6 / at_once)  # and not 2 + 4 + 6
    assert (cost.trials, cost.afterwards) == (6, pytest.approx(2 * 6 / at_once))


def test_a_dry_run_tells_both(plan: Make) -> None:
    made = plan(finalists=2, replicates=3, resplit=True, ablate=True)
    console = Console(record=True, width=200)
    print_dry_run(made, console)
    told = console.export_text()
    afterwards = format_duration(33 * 6 / made.allotment.concurrent)
    assert (
        "at most 33 more trials (6 under fresh seeds, 6 on re-splits, 21 of the ablation)" in told
    )
    assert f"about {afterwards}" in told
    assert told.index("estimated time") < told.index("33 more trials")


def test_a_bare_search_is_followed_by_nothing(plan: Make) -> None:
    console = Console(record=True, width=200)
    print_dry_run(plan(finalists=0), console)
    assert "more trials" not in console.export_text()
