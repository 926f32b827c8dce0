"""The cost that a dry run reports: of the search, and of the trials that follow it."""

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
from tune_bio.study.frozen_features import FeaturePlan, plan_features
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
    """A function that plans a study of `tiny_npz` from a search space and settings."""

    def make(space: str = SPACE, **settings: Any) -> Plan:
        path = tmp_path / "space.py"
        path.write_text(space)
        chosen = {"data": str(tiny_npz), "num_trials": 10, "max_epochs": 6, **settings}
        request = Request(name="study", results=tmp_path / "results")
        loaded, nodes = load_search_space(path), (Node(2, 0),)
        return make_plan(loaded, SearchSettings.of(chosen), request, nodes)

    return make


@pytest.fixture(autouse=True)
def _one_second_per_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests check which epochs are counted, whatever the machine's speed."""

    def seconds(plan: Plan, features: FeaturePlan, config: TrialConfig) -> float:
        return 1.0

    monkeypatch.setattr(cost_estimate, "_epoch_seconds", seconds)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"finalists": 0}, FollowUpTrials(0, 0, 0)),
        ({"finalists": 2, "replicates": 3}, FollowUpTrials(6, 0, 0)),
        ({"finalists": 20, "replicates": 3}, FollowUpTrials(30, 0, 0)),  # of ten trials
        ({"finalists": 2, "replicates": 3, "resplit": True}, FollowUpTrials(6, 6, 0)),
        # Four other batch sizes of five, one other depth, dropout up and down.
        ({"finalists": 2, "replicates": 3, "ablate": True}, FollowUpTrials(6, 0, 21)),
    ],
)
def test_trials_that_follow_a_search_are_counted(
    plan: Make, settings: Any, expected: FollowUpTrials
) -> None:
    assert follow_up_trials(plan(**settings)) == expected


def test_the_search_is_the_first_seed_of_a_fully_replicated_grid(plan: Make) -> None:
    grid = plan(GRID, searcher="grid", finalists="all", replicates=3, resplit=True, ablate=True)
    assert follow_up_trials(grid) == FollowUpTrials(6, 9, 0)


def test_the_cost_of_a_search_is_that_of_its_trials_and_of_those_that_follow(plan: Make) -> None:
    search = plan(grace_period=2, finalists=2, replicates=3)
    cost = cost_estimate.estimate_cost(search, plan_features(search))
    concurrent = search.allotment.concurrent
    assert cost.longest == pytest.approx(10 * 6 / concurrent)
    assert cost.shortest == pytest.approx(10 * 2 / concurrent)
    assert follow_up_trials(search).trials == 6
    assert cost.afterwards == pytest.approx(6 * 6 / concurrent)


def test_common_epochs_of_a_grid_are_counted_once(plan: Make) -> None:
    grid = plan(GRID, searcher="grid", scheduler="none", finalists="all", replicates=3)
    cost = cost_estimate.estimate_cost(grid, plan_features(grid))
    concurrent = grid.allotment.concurrent
    assert cost.longest == cost.shortest == pytest.approx(6 / concurrent)  # not 2 + 4 + 6
    assert follow_up_trials(grid).trials == 6
    assert cost.afterwards == pytest.approx(2 * 6 / concurrent)


def _printed_dry_run(plan: Plan) -> str:
    console, features = Console(record=True, width=200), plan_features(plan)
    print_dry_run(plan, features, cost_estimate.estimate_cost(plan, features), console)
    return console.export_text()


def test_a_dry_run_reports_both_costs(plan: Make) -> None:
    search = plan(finalists=2, replicates=3, resplit=True, ablate=True)
    output = _printed_dry_run(search)
    afterwards = format_duration(33 * 6 / search.allotment.concurrent)
    assert (
        "at most 33 more trials (6 under fresh seeds, 6 on re-splits, 21 of the ablation)" in output
    )
    assert f"about {afterwards}" in output
    assert output.index("estimated time") < output.index("33 more trials")


def test_a_dry_run_of_a_search_without_finalists_reports_no_further_trials(plan: Make) -> None:
    assert "more trials" not in _printed_dry_run(plan(finalists=0))
