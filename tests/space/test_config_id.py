"""A configuration's identity: equal for equal hyperparameters, whatever the seed."""

from typing import Any

import pytest

from tune_bio.space.trial_config import TrialConfig

BASE: dict[str, Any] = {"model": "ann", "lr": 0.01}


def test_the_config_id_ignores_the_seed_and_explicit_defaults() -> None:
    config_id = TrialConfig.of(BASE).config_id
    assert len(config_id) == 12
    assert int(config_id, 16) >= 0
    assert TrialConfig.of({**BASE, "seed": 9}).config_id == config_id
    assert TrialConfig.of(TrialConfig.of(BASE).params()).config_id == config_id
    assert TrialConfig.of({"lr": 0.01, "model": "ann", "depth": 3}).config_id == config_id
    as_int = {"model": "ann", "weight_decay": 0}
    as_float = {"model": "ann", "weight_decay": 0.0}
    assert TrialConfig.of(as_int).config_id == TrialConfig.of(as_float).config_id


@pytest.mark.parametrize(
    "change",
    [{"lr": 0.011}, {"depth": 2}, {"dropout": 0.3}, {"loss": "bce"}, {"epochs": 19}],
    ids=str,
)
def test_a_changed_hyperparameter_changes_the_config_id(change: dict[str, Any]) -> None:
    assert TrialConfig.of(BASE | change).config_id != TrialConfig.of(BASE).config_id
