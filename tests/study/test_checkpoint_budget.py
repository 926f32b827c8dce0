"""The trials whose weights are kept when checkpoints use too much disk space."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tune_bio.records.tables import Records
from tune_bio.records.trial_names import TrialName
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study import checkpoint_budget
from tune_bio.study.checkpoint_budget import BEST_KEPT, CheckpointBudget

SEARCHED = [f"t{position:04d}" for position in range(8)]


@pytest.fixture
def kept_trials(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The trials that a cleanup is to keep, by the reason."""
    trials_by_reason: dict[str, Any] = {}

    def remove_checkpoints(study: Path, limit: int, **reasons: Any) -> int:
        trials_by_reason.update(reasons)
        return 0

    monkeypatch.setattr(checkpoint_budget, "remove_checkpoints", remove_checkpoints)
    return trials_by_reason


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Eight searched trials, the later the better, and even better trials that follow the search.

    The latter are a replicate, trials on four re-splits, and a trial with a change.
    """
    no_names = np.array([], dtype=str)
    records = Records(tmp_path, ("a", "b"), no_names, no_names, np.array([], dtype=np.int64))
    followers = ["t0000r1", *(f"t0000s{k}r{k}" for k in range(1, 5)), "t0000a1r1"]
    for k, trial in enumerate([*SEARCHED, *followers]):
        config = TrialConfig.of({"model": "ann"})
        records.start_trial(trial, "c", config, TrialName.parse(trial).replicate)
        records.add_epochs(trial, [{"epoch": 1, "val_auroc": 0.5 + k / 100}])
        records.update_trial(trial, status="completed", best_epoch=1)
    records.update_trial("t0000", status="interrupted")
    return records


def test_the_best_searched_trials_and_the_replicates_are_kept(
    records: Records, kept_trials: dict[str, Any]
) -> None:
    CheckpointBudget(records, SearchSettings()).clean()
    # Neither re-splits nor changes.
    assert set(kept_trials["best"]) == {*SEARCHED[-BEST_KEPT:], "t0000r1"}
    assert kept_trials["running"] == ["t0000"]  # it goes on when the study is resumed


def test_all_trials_of_a_fully_replicated_grid_are_kept(
    records: Records, kept_trials: dict[str, Any]
) -> None:
    CheckpointBudget(records, SearchSettings(), all_confirm=True).clean()
    assert set(kept_trials["best"]) == {*SEARCHED, "t0000r1"}
