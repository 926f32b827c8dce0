"""Re-splits: finalists on new splits of train and validation serve only as a noise floor."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.data_factory import dataset
from tune_bio.datasets.opening import open_dataset
from tune_bio.errors import DataError
from tune_bio.records.tables import read_predictions
from tune_bio.records.trial_names import TrialName
from tune_bio.study.follow_up.resplits import make_resplits

Run = Callable[..., Any]
FLAGS = ("--finalists", "2", "--replicates", "2", "--resplit")
CONFIGS = [
    {"model": "ann", "width": 8, "lr": 0.01, "epochs": epochs, "lr_schedule": "constant"}
    for epochs in (1, 2)
]


def plan_of(data: Any, replicates: int = 3, seed: int = 0) -> Any:
    """Return the parts of a plan that re-splits read."""
    settings = SimpleNamespace(resplit=True, replicates=replicates, seed=seed)
    return SimpleNamespace(settings=settings, dataset=data)


def test_finalists_are_trained_on_re_splits_whose_images_the_predictions_name(
    study: Run, tiny_npz: Path
) -> None:
    finished = study(*FLAGS, configs=CONFIGS)
    assert finished.status == 0
    trials, entry = finished.trials, finished.manifest["resplits"]
    assert [split["number"] for split in entry["splits"]] == [1, 2]
    resplit_trials = {trial for finalist in entry["finalists"] for trial in finalist["scores"]}
    assert resplit_trials == {f"t000{k}s{n}r{n}" for k in (0, 1) for n in (1, 2)}
    assert resplit_trials == {trial for trial in trials.index if TrialName.parse(trial).resplit}

    data = open_dataset(str(tiny_npz), seed=0)
    label_of = dict(zip(data.train.names, data.train.labels, strict=True))
    label_of |= dict(zip(data.val.names, data.val.labels, strict=True))
    predictions = read_predictions(finished.folder)
    validation = predictions[predictions["split"] == "val"]
    for trial, rows in validation.groupby("trial"):
        assert [label_of[name] for name in rows["image"]] == rows["label"].tolist()
        auroc = roc_auc_score(rows["label"], rows["p_1"])
        assert auroc == pytest.approx(trials.loc[trial, "best_val_auroc"], abs=1e-5)
        on_own_split = rows["image"].tolist() == data.val.names.tolist()
        assert on_own_split == (not TrialName.parse(str(trial)).resplit)
    images = {
        number: set(validation.loc[validation["trial"] == f"t0000s{number}r{number}", "image"])
        for number in (1, 2)
    }
    assert images[1] != images[2]
    assert abs(len(images[1]) - len(data.val)) <= 5  # of 144, in tenths

    # The seed is that of a replicate, but none of its checkpoints is reused: the split differs.
    for trial in resplit_trials:
        base, number = trial[:5], trial[-1]
        replicate, row = trials.loc[f"{base}r{number}"], trials.loc[trial]
        assert row["seed"] == replicate["seed"]
        # The shorter and the longer configuration share their first epoch on the same split.
        assert pd.isna(row["reused_from"]) or row["reused_from"] == f"t0000s{number}r{number}"
        assert row["final_train_loss"] != replicate["final_train_loss"]
    assert TrialName.parse(finished.manifest["best_trial"]).confirms
    tested = set(predictions.loc[predictions["split"] == "test", "trial"])
    assert tested == {trial for trial in trials.index if TrialName.parse(trial).confirms}
    noise = finished.manifest["conclusions"]["noise_of_splits"]
    assert noise["degrees_of_freedom"] == 2
    summary = (finished.folder / "summary.md").read_text()
    assert "**Noise floor with re-splits.**" in summary
    assert "mean ± SD (2 re-splits)" in summary

    resumed = study(*FLAGS, "--resume", configs=CONFIGS)
    assert resumed.manifest["resplits"] == entry
    pd.testing.assert_frame_equal(resumed.trials, trials)
    pd.testing.assert_frame_equal(read_predictions(resumed.folder), predictions)


def test_no_patient_is_on_both_sides_and_the_test_set_is_not_used() -> None:
    data = dataset(n=30)
    resplits = make_resplits(plan_of(data))
    assert set(resplits) == {1, 2, 3}
    assert len({resplit.key for resplit in resplits.values()}) == 3
    names = np.concatenate([data.train.names, data.val.names])
    for resplit in resplits.values():
        assert sorted([*resplit.train, *resplit.val]) == list(range(60))
        assert len(resplit.val) == 30
        assert resplit.val_images.images.tolist() == names[resplit.val].tolist()
        assert not set(names[resplit.train]) & set(resplit.val_images.patients)
        assert not set(names) & set(data.test.names)
    same_seed, other_seed = make_resplits(plan_of(data)), make_resplits(plan_of(data, seed=1))
    assert [resplit.key for resplit in same_seed.values()] == [
        resplit.key for resplit in resplits.values()
    ]
    assert other_seed[1].key != resplits[1].key
    # Additional re-splits do not change the first ones.
    assert make_resplits(plan_of(data, replicates=5))[3].key == resplits[3].key


def test_a_class_with_a_single_patient_is_refused() -> None:
    data = dataset(n=12)
    healthy = np.zeros(12, dtype=np.int64)
    one_ill = replace(data.train, labels=np.where(np.arange(12) == 5, 1, 0))
    data = replace(data, train=one_ill, val=replace(data.val, labels=healthy))
    with pytest.raises(DataError, match="class number 1 has only 1 patient left"):
        make_resplits(plan_of(data))
