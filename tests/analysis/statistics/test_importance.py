"""Importances of hyperparameters in an adaptive search."""

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
    """Return a random search where only `lr` changes the score; half the trials have `dropout`."""
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


def by_name(table: pd.DataFrame, **kwargs: bool) -> dict[str, Association]:
    result = importances(table, NAMES, epoch=3, seed=0, **kwargs)
    assert sum(association.share for association in result.associations) == pytest.approx(1)
    return {association.hyperparameter: association for association in result.associations}


def test_only_the_hyperparameter_that_changes_the_score_is_found() -> None:
    result = importances(search(0, effect=0.02), NAMES, epoch=3, censored=5, seed=0)
    assert (result.epoch, result.trials, result.censored) == (3, 60, 5)
    first, *others = result.associations
    assert first.hyperparameter == "lr"
    assert first.share > 0.5
    assert first.p_value < 0.05
    assert all(other.p_value > 0.05 for other in others)
    low, high = map(float, first.best.split(" to "))
    assert 1e-4 < low < high < 1e-2  # of the best trials; the optimum is 1e-3
    low, high = map(float, first.all.split(" to "))
    assert low < 1e-3 < high


def test_losses_give_the_same_importances_as_scores() -> None:
    table = search(1, effect=0.02)
    as_losses = by_name(table.assign(score=-table["score"]), lower_is_better=True)
    assert as_losses == by_name(table)


def test_nothing_is_found_where_nothing_matters() -> None:
    p_values = [a.p_value for k in range(4) for a in by_name(search(k, effect=0.0)).values()]
    assert sum(p < 0.05 for p in p_values) <= 1
    assert min(p_values) < 1.0


@given(seed=st.integers(0, 2**32 - 1), power=st.sampled_from([0.1, 3.0]))
@settings(max_examples=2, deadline=None)
def test_the_scale_of_a_number_does_not_matter(seed: int, power: float) -> None:
    table = search(seed, effect=0.01)
    rescaled = by_name(table.assign(lr=table["lr"] ** power))
    for name, association in by_name(table).items():
        assert rescaled[name].share == pytest.approx(association.share)
        assert rescaled[name].p_value == association.p_value


def test_importances_of_choices_agree_with_optuna() -> None:
    """Compare shares with those of Optuna's own evaluator, where no column is a range."""
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
    expected = optuna.importance.get_param_importances(study, evaluator=evaluator)
    result = importances(table, names, epoch=1, seed=0)
    assert {a.hyperparameter: a.share for a in result.associations} == pytest.approx(expected)


def test_too_few_trials_and_constant_hyperparameters_are_refused() -> None:
    with pytest.raises(StatisticsError, match="49 trials are too few"):
        importances(search(0, 0.0, trials=49), NAMES, epoch=1, seed=0)
    with pytest.raises(StatisticsError, match="no hyperparameter has two values"):
        importances(search(0, 0.0).assign(lr=1.0), ["lr"], epoch=1, seed=0)


@given(
    reached=st.lists(st.integers(0, 9), min_size=1, max_size=30),
    min_trials=st.sampled_from([1, 5, 15]),
)
def test_the_common_epoch_is_the_last_that_enough_trials_reached(
    reached: list[int], min_trials: int
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
        count = sum(last >= epoch for last in reached)
        return count >= min_trials and 2 * count >= started

    common = [epoch for epoch in range(1, 10) if started and enough(epoch)]
    assert common_epoch(epochs, "val_auroc", min_trials=min_trials) == (
        max(common) if common else None
    )
