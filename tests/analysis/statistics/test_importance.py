"""What goes with good scores in a search."""

import numpy as np
import optuna
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_bio.analysis.statistics import Association, common_epoch, importances
from tune_bio.errors import StatisticsError

NAMES = ["lr", "batch_size", "model", "dropout"]


def search(seed: int, effect: float, trials: int = 60) -> pd.DataFrame:
    """A random search in which `lr` alone moves the score; `dropout` exists on half the trials."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "lr": 10 ** rng.uniform(-5, -1, trials),
            "batch_size": rng.choice([16, 32, 64], trials),
            "model": rng.choice(["a", "b"], trials),
        }
    )
    table["dropout"] = rng.random(trials)
    table.loc[table["model"] == "b", "dropout"] = np.nan
    best = -((np.log10(table["lr"]) + 3) ** 2)
    return table.assign(score=0.8 + effect * best + rng.normal(0, 0.01, trials))


def found(table: pd.DataFrame, **how: bool) -> dict[str, Association]:
    told = importances(table, NAMES, epoch=3, seed=0, **how)
    assert sum(one.share for one in told.associations) == pytest.approx(1)
    return {one.hyperparameter: one for one in told.associations}


def test_what_moves_the_score_is_found_and_nothing_else() -> None:
    told = importances(search(0, effect=0.02), NAMES, epoch=3, censored=5, seed=0)
    assert (told.epoch, told.trials, told.censored) == (3, 60, 5)
    first, *others = told.associations
    assert first.hyperparameter == "lr"
    assert first.share > 0.5
    assert first.p_value < 0.05
    assert all(one.p_value > 0.05 for one in others)
    low, high = map(float, first.best.split(" to "))
    assert 1e-4 < low < high < 1e-2  # of the best; the effect's peak is at 1e-3
    low, high = map(float, first.all.split(" to "))
    assert low < 1e-3 < high


def test_losses_are_turned_round() -> None:
    table = search(1, effect=0.02)
    as_losses = found(table.assign(score=-table["score"]), lower_is_better=True)
    assert as_losses == found(table)


def test_nothing_is_found_where_nothing_matters() -> None:
    p_values = [one.p_value for k in range(4) for one in found(search(k, effect=0.0)).values()]
    assert sum(p < 0.05 for p in p_values) <= 1
    assert min(p_values) < 1.0


@given(seed=st.integers(0, 2**32 - 1), power=st.sampled_from([0.1, 3.0]))
@settings(max_examples=2, deadline=None)
def test_the_scale_of_a_number_is_of_no_matter(seed: int, power: float) -> None:
    table = search(seed, effect=0.01)
    bent = found(table.assign(lr=table["lr"] ** power))
    for name, one in found(table).items():
        assert bent[name].share == pytest.approx(one.share)
        assert bent[name].p_value == one.p_value


def test_importances_are_optunas() -> None:
    """Where nothing is a range: the divergences of Optuna's own evaluator, as shares."""
    table = search(2, effect=0.0)
    names = ["batch_size", "model"]
    study = optuna.create_study(direction="maximize")
    choices = {
        n: optuna.distributions.CategoricalDistribution(sorted(set(table[n]))) for n in names
    }
    for _, row in table.iterrows():
        params = {name: row[name] for name in names}
        trial = optuna.trial.create_trial(
            params=params, distributions=choices, value=float(row["score"])
        )
        study.add_trial(trial)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    theirs = optuna.importance.get_param_importances(study, evaluator=evaluator)
    told = importances(table, names, epoch=1, seed=0)
    assert {one.hyperparameter: one.share for one in told.associations} == pytest.approx(theirs)


def test_few_trials_or_nothing_searched_is_refused() -> None:
    with pytest.raises(StatisticsError, match="49 trials are too few"):
        importances(search(0, 0.0, trials=49), NAMES, epoch=1, seed=0)
    with pytest.raises(StatisticsError, match="no hyperparameter has two values"):
        importances(search(0, 0.0).assign(lr=1.0), ["lr"], epoch=1, seed=0)


@given(
    reached=st.lists(st.integers(0, 9), min_size=1, max_size=30), fewest=st.sampled_from([1, 5, 15])
)
def test_the_common_epoch_is_the_last_that_enough_trials_have(
    reached: list[int], fewest: int
) -> None:
    rows = [
        {"trial_id": f"t{k}", "epoch": epoch, "val_auroc": 0.5}
        for k, last in enumerate(reached)
        for epoch in range(1, last + 1)
    ]
    empty = pd.DataFrame(columns=["trial_id", "epoch", "val_auroc"])
    epochs = pd.DataFrame(rows) if rows else empty
    started = sum(last > 0 for last in reached)

    def enough(epoch: int) -> bool:
        there = sum(last >= epoch for last in reached)
        return there >= fewest and 2 * there >= started

    wanted = [epoch for epoch in range(1, 10) if started and enough(epoch)]
    assert common_epoch(epochs, "val_auroc", fewest=fewest) == (max(wanted) if wanted else None)
