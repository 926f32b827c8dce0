"""The records that a resumed study reads, wherever it was interrupted."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tune_bio.errors import ConfigError
from tune_bio.ray_tune.jobs import longest_of_each_training
from tune_bio.records.recorded_trial import RecordedTrial
from tune_bio.records.tables import Records
from tune_bio.records.trial_names import TrialName
from tune_bio.space.settings import SearchSettings
from tune_bio.study import resume
from tune_bio.study.planning.plan import complete_config
from tune_bio.study.resume import refuse_other_study, restore_records

LISTED = tuple(
    {"model": "ann", "lr": lr, "epochs": epochs, "image_size": 16}
    for lr in (0.1, 0.01)
    for epochs in (10, 20, 30)
)


def plan_of(**overrides: Any) -> Any:
    """Return the parts of a plan that a resumed study reads."""
    settings = SearchSettings.of({"max_epochs": 30, **overrides})
    plan = SimpleNamespace(settings=settings, listed=LISTED)
    plan.config = lambda params: complete_config(params, settings, 16)
    return plan


def records_with(folder: Path, plan: Any, status_by_trial: dict[str, str]) -> Records:
    """Return empty records of a folder to which these trials have been written."""
    no_names = np.array([], dtype=str)
    written = Records(folder, ("a", "b"), no_names, no_names, np.array([], dtype=np.int64))
    for trial, status in status_by_trial.items():
        name = TrialName.parse(trial)
        config = plan.config(LISTED[name.position]).with_seed(name.replicate)
        written.start_trial(trial, config.config_id, config, name.replicate)
        written.add_epochs(trial, [{"epoch": 1, "val_auroc": 0.5}])
        written.update_trial(trial, status=status, best_epoch=1, epochs_run=1)
    written.write()
    return Records(folder, ("a", "b"), no_names, no_names, np.array([], dtype=np.int64))


def test_a_grid_is_resumed_whichever_of_its_trials_had_started(tmp_path: Path) -> None:
    """The lengths of the second learning rate are one training, started before the first's."""
    plan = plan_of()
    records = records_with(
        tmp_path, plan, {"t0003": "completed", "t0004": "interrupted", "t0005": "running"}
    )
    past = restore_records(plan, records)
    assert [(trial.trial, trial.status) for trial in past] == [
        ("t0003", "completed"), ("t0004", "interrupted"), ("t0005", "interrupted"),
    ]  # fmt: skip
    assert [trial.config.lr for trial in past] == [0.01] * 3


def test_a_replicate_that_failed_is_tried_again(tmp_path: Path) -> None:
    plan = plan_of()
    status = {"t0000": "completed", "t0001": "failed", "t0000r1": "failed", "t0000r2": "diverged"}
    records = records_with(tmp_path, plan, status)
    restore_records(plan, records)
    assert records.trials["t0000r1"]["status"] == "interrupted"
    assert records.trials["t0000r2"]["status"] == "diverged"
    assert records.trials["t0001"]["status"] == "failed"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_epochs": 5}, "max_epochs=30 and cannot go on with 5"),
        ({"grace_period": 3}, "give --grace-period 1, or begin another study"),
        ({"sensitivity": 0.9}, "leave --sensitivity out, or begin another study"),
    ],
)
def test_a_study_is_not_resumed_with_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    manifest = {
        "settings": plan_of(grace_period=1).settings.model_dump(),
        "space": {"sha256": "", "pinned": {}}, "data": {"fingerprint": ""}, "started": "",
        "test_set_opened": [],
    }  # fmt: skip
    monkeypatch.setattr(resume, "read_manifest", lambda folder: manifest)
    plan = plan_of(**{"grace_period": 1, **change})
    plan.request = SimpleNamespace(folder=tmp_path)
    with pytest.raises(ConfigError, match=message):
        refuse_other_study(plan)


def test_the_scheduler_sees_lengths_of_one_training_once() -> None:
    def recorded(position: int, epochs: int) -> RecordedTrial:
        config = plan_of().config(LISTED[position]).with_seed(0)
        steps = tuple((epoch, 0.5) for epoch in range(1, epochs + 1))
        return RecordedTrial(str(TrialName(position)), config, "completed", steps, 0.5)

    past = [recorded(0, 10), recorded(1, 20), recorded(2, 25), recorded(3, 10)]
    compared = longest_of_each_training(past)
    assert [trial.trial for trial in compared] == ["t0002", "t0003"]
