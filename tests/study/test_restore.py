"""What a resumed study reads from its records, whatever it was when it was interrupted."""

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


def plan_of(**given: Any) -> Any:
    settings = SearchSettings.of({"max_epochs": 30, **given})
    plan = SimpleNamespace(settings=settings, listed=LISTED)
    plan.config = lambda params: complete_config(params, settings, 16)
    return plan


def records_with(folder: Path, plan: Any, status: dict[str, str]) -> Records:
    """Records that have been written, to be read again."""
    nobody = np.array([], dtype=str)
    made = Records(folder, ("a", "b"), nobody, nobody, np.array([], dtype=np.int64))
    for trial, told in status.items():
        name = TrialName.parse(trial)
        config = plan.config(LISTED[name.position]).with_seed(name.replicate)
        made.start_trial(trial, config.config_id, config, name.replicate)
        made.add_epochs(trial, [{"epoch": 1, "val_auroc": 0.5}])
        made.update_trial(trial, status=told, best_epoch=1, epochs_run=1)
    made.write()
    return Records(folder, ("a", "b"), nobody, nobody, np.array([], dtype=np.int64))


def test_a_grid_goes_on_whatever_members_had_begun(tmp_path: Path) -> None:
    """Lengths 10, 20, 30 of the second learning rate: one training, begun before the first's."""
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
def test_other_settings_are_refused(
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
    def past(at: int, steps: int) -> RecordedTrial:
        config = plan_of().config(LISTED[at]).with_seed(0)
        curve = tuple((epoch, 0.5) for epoch in range(1, steps + 1))
        return RecordedTrial(f"t{at:04d}", config, "completed", curve, 0.5)

    compared = longest_of_each_training([past(0, 10), past(1, 20), past(2, 25), past(3, 10)])
    assert [trial.trial for trial in compared] == ["t0002", "t0003"]
