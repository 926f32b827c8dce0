"""Which trials' weights stay when checkpoints take too much of the disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tune_bio.records.tables import Records
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study import checkpoint_budget
from tune_bio.study.checkpoint_budget import BEST_KEPT, CheckpointBudget

TRIALS = [f"t{k:04d}" for k in range(8)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a cleaning is asked to keep."""
    found: dict[str, Any] = {}

    def clean(study: Path, limit: int, **kept: Any) -> int:
        found.update(kept)
        return 0

    monkeypatch.setattr(checkpoint_budget, "clean", clean)
    return found


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Eight trials of a search, the later the better, and replicates that are better still."""
    nobody = np.array([], dtype=str)
    made = Records(tmp_path, ("a", "b"), nobody, nobody, np.array([], dtype=np.int64))
    more = ["t0000r1", *(f"t0000s{k}r{k}" for k in range(1, 5)), "t0000a1r1"]
    for k, trial in enumerate([*TRIALS, *more]):
        replicate = int(trial.partition("r")[2] or 0)
        made.start_trial(trial, "c", TrialConfig.of({"model": "ann"}), replicate)
        made.add_epochs(trial, [{"epoch": 1, "val_auroc": 0.5 + k / 100}])
        made.update_trial(trial, status="completed", best_epoch=1)
    made.update_trial("t0000", status="interrupted")
    return made


def test_the_best_of_the_search_stay_and_what_confirms(records: Records, asked: Any) -> None:
    CheckpointBudget(records, SearchSettings()).clean()
    assert set(asked["best"]) == {*TRIALS[-BEST_KEPT:], "t0000r1"}  # no re-splits, no changes
    assert asked["running"] == ["t0000"]  # it goes on when the study is resumed


def test_of_a_grid_that_is_replicated_whole_all_stay(records: Records, asked: Any) -> None:
    CheckpointBudget(records, SearchSettings(), all_confirm=True).clean()
    assert set(asked["best"]) == {*TRIALS, "t0000r1"}
