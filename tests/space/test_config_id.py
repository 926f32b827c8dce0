"""A configuration's identity: equal for equal hyperparameters, whatever the seed."""

from typing import Any

import pytest

from tune_bio.space.trial_config import TrialConfig, config_id

BASE: dict[str, Any] = {"model": "ann", "lr": 0.01}


def test_a_configuration_keeps_its_name_over_seeds_and_spelled_out_defaults() -> None:
    name = config_id(TrialConfig.of(BASE))
    assert len(name) == 12
    assert int(name, 16) >= 0
    assert config_id(TrialConfig.of({**BASE, "seed": 9})) == name
    assert config_id(TrialConfig.of(TrialConfig.of(BASE).params())) == name
    assert config_id(TrialConfig.of({"lr": 0.01, "model": "ann", "depth": 3})) == name
    assert config_id(TrialConfig.of({"model": "ann", "weight_decay": 0})) == config_id(
        TrialConfig.of({"model": "ann", "weight_decay": 0.0})
    )


@pytest.mark.parametrize(
    "change",
    [{"lr": 0.011}, {"depth": 2}, {"dropout": 0.3}, {"loss": "bce"}, {"epochs": 19}],
    ids=str,
)
def test_every_change_of_a_hyperparameter_changes_the_name(change: dict[str, Any]) -> None:
    assert config_id(TrialConfig.of(BASE | change)) != config_id(TrialConfig.of(BASE))
