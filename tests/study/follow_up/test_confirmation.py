"""Confirmation: finalists are trained again under fresh seeds; then the test set is opened."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tune_bio
from tune_bio.analysis.statistics.operating_point import choose_threshold
from tune_bio.common.labels import format_utc
from tune_bio.records.tables import Records, read_evaluations, read_predictions
from tune_bio.records.trial_names import TrialName
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study.conclude import is_unfinished
from tune_bio.study.follow_up.after_search import FollowUp
from tune_bio.study.follow_up.confirmation import Finalist, choose_finalists, confirmed_finalists

Run = Callable[..., Any]
CONFIGS = [
    {"model": "ann", "width": 8, "lr": lr, "epochs": epochs, "lr_schedule": "constant"}
    for lr, epochs in ((0.01, 2), (0.001, 2), (0.001, 3))
]
CONFIRM = ("--finalists", "2", "--replicates", "3")


def _best(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "best" / "config.json").read_text())
    return config


def test_the_best_trials_are_replicated_and_only_replicates_see_the_test_set(
    study: Run, tiny_npz: Path
) -> None:
    finished = study(*CONFIRM, configs=CONFIGS)
    assert finished.status == 0
    trials = finished.trials
    search, replicates = trials[trials["replicate"] == 0], trials[trials["replicate"] > 0]
    assert len(search) == 3
    best = search.sort_values("best_val_auroc", ascending=False, kind="stable").index[:2]
    assert set(replicates.index) == {f"{trial}r{k}" for trial in best for k in (1, 2, 3)}
    for trial, row in replicates.iterrows():
        original = trials.loc[trial.partition("r")[0]]
        assert row["config_id"] == original["config_id"]
        assert row["seed"] == original["seed"] + row["replicate"]
        assert row["status"] == "completed"
        assert row["epochs_run"] == original["params.epochs"]

    winner = finished.manifest["confirmed"][0]
    scores = trials.loc[list(winner["scores"]), "best_val_auroc"]
    assert winner["mean"] == pytest.approx(scores.mean())
    assert winner["mean"] == max(entry["mean"] for entry in finished.manifest["confirmed"])
    assert trials.loc[winner["median"], "best_val_auroc"] == statistics.median_low(scores)
    assert _best(finished.folder)["trial"] == winner["median"]
    summary = (finished.folder / "summary.md").read_text()
    assert "## Confirmation" in summary
    assert format_utc(finished.manifest["test_set_opened"][0]["when"]) in summary
    _check_the_test_set(finished, tiny_npz)
    drawn = {path.stem for path in (finished.folder / "figures").glob("*.png")}
    of_the_winner = {"configurations", "comparisons", "confusion", "roc_pr", "calibration"}
    assert of_the_winner | {"inputs", "most_wrong", "network"} <= drawn


def _check_the_test_set(finished: Any, tiny_npz: Path) -> None:
    """Check that only the replicates are evaluated on the test set, with intervals."""
    replicates = [t for entry in finished.manifest["confirmed"] for t in entry["scores"]]
    predictions = read_predictions(finished.folder)
    on_test = predictions[predictions["split"] == "test"]
    assert set(on_test["trial"]) == set(replicates)
    (opening,) = finished.manifest["test_set_opened"]
    assert opening["images"] == 48
    assert sorted(opening["trials"]) == sorted(replicates)
    test_auroc = finished.trials["test_auroc"]
    assert set(test_auroc.dropna().index) == set(replicates)

    # The exported model reproduces the recorded predictions and metrics.
    model = tune_bio.load_model(finished.folder)
    data = np.load(tiny_npz)
    exported = _best(finished.folder)["trial"]
    recorded = on_test[on_test["trial"] == exported][["p_0", "p_1"]].to_numpy()
    np.testing.assert_allclose(model.predict(data["test_images"]), recorded, atol=1e-6)
    labels = data["test_labels"].ravel()
    predicted = model.classify(data["test_images"]).astype(int)
    evaluations = read_evaluations(finished.folder)
    metrics = evaluations[evaluations["trial"] == exported].set_index(["split", "metric"])
    sensitivity = (predicted[labels == 1] == 1).mean()
    assert metrics.loc[("test", "sensitivity"), "value"] == pytest.approx(sensitivity)
    for split in ("val", "test"):
        auroc = metrics.loc[(split, "auroc")]
        assert auroc["low"] < auroc["value"] <= auroc["high"]
    validation = predictions[(predictions["split"] == "val") & (predictions["trial"] == exported)]
    threshold = choose_threshold(
        validation["label"].to_numpy(), validation[["p_0", "p_1"]].to_numpy(float), 1
    )
    assert model.threshold == pytest.approx(threshold, abs=1e-6)


def test_the_contents_of_the_test_split_affect_nothing_but_its_evaluation(
    study: Run, tiny_npz: Path, tmp_path: Path
) -> None:
    arrays = dict(np.load(tiny_npz))
    rng = np.random.default_rng(1)
    arrays["test_images"] = rng.integers(0, 256, arrays["test_images"].shape).astype(np.uint8)
    arrays["test_labels"] = rng.permutation(arrays["test_labels"])
    noise = tmp_path / "noise.npz"
    np.savez(noise, **arrays)
    on_images = study(*CONFIRM, configs=CONFIGS, name="images")
    on_noise = study(*CONFIRM, "--data", str(noise), configs=CONFIGS, name="noise")

    excluded = ["seconds", "seconds_per_epoch", "reused_from", "epochs_trained"]
    test_columns = [name for name in on_images.trials.columns if name.startswith("test_")]
    pd.testing.assert_frame_equal(
        on_images.trials.drop(columns=[*excluded, *test_columns]),
        on_noise.trials.drop(columns=[*excluded, *test_columns]),
    )
    assert not on_images.trials[test_columns].equals(on_noise.trials[test_columns])
    timed = ["seconds", "images_per_second"]
    pd.testing.assert_frame_equal(
        on_images.epochs.drop(columns=timed), on_noise.epochs.drop(columns=timed)
    )
    validation = [
        read_predictions(finished.folder).query("split == 'val'")
        for finished in (on_images, on_noise)
    ]
    pd.testing.assert_frame_equal(*validation)
    assert on_images.manifest["confirmed"] == on_noise.manifest["confirmed"]
    assert on_images.manifest["thresholds"] == on_noise.manifest["thresholds"]


def test_a_grid_is_fully_replicated_and_nothing_is_selected(study: Run) -> None:
    finished = study("--finalists", "all", "--replicates", "2", configs=CONFIGS)
    assert len(finished.trials) == 6
    for entry in finished.manifest["confirmed"]:
        assert list(entry["scores"]) == [entry["trial"], f"{entry['trial']}r1"]
    assert finished.trials["test_auroc"].notna().all()
    # Two configurations differ only in their length, so their replicates are one training, too.
    shorter, longer = finished.trials.loc["t0001r1"], finished.trials.loc["t0002r1"]
    assert longer["reused_from"] == "t0001r1"
    assert shorter["epochs_trained"] + longer["epochs_trained"] == 3


def test_a_finished_search_is_confirmed_later_and_opens_the_test_set_once(study: Run) -> None:
    bare = study("--finalists", "0", configs=CONFIGS)
    assert bare.manifest["test_set_opened"] == []
    assert bare.trials["test_auroc"].isna().all()
    confirmed = study(*CONFIRM, "--resume", configs=CONFIGS)
    openings = confirmed.manifest["test_set_opened"]
    assert len(openings) == 1
    trials, evaluations = confirmed.trials, read_evaluations(confirmed.folder)
    assert len(trials) == 9
    resumed = study(*CONFIRM, "--resume", configs=CONFIGS)
    assert resumed.manifest["test_set_opened"] == openings
    pd.testing.assert_frame_equal(resumed.trials, trials)
    pd.testing.assert_frame_equal(read_evaluations(resumed.folder), evaluations)


@pytest.mark.slow
def test_a_second_study_of_the_same_images_reports_that_they_were_opened(study: Run) -> None:
    flags = ("--finalists", "1", "--replicates", "1")
    study(*flags, configs=CONFIGS[:1], name="first")
    second = study(*flags, configs=CONFIGS[1:2], name="second")
    (opening,) = second.manifest["test_set_opened_before"]
    assert opening["study"] == "first"
    assert "had been opened by the study first" in (second.folder / "summary.md").read_text()


def _records(tmp_path: Path, scores: dict[str, float | None], metric: str) -> Records:
    """Record ended trials by their score; None for a diverged trial."""
    no_names = np.array([], dtype=str)
    records = Records(tmp_path, ("a", "b"), no_names, no_names, np.array([], dtype=np.int64))
    for trial, value in scores.items():
        name = TrialName.parse(trial)
        config = TrialConfig.of({"model": "ann", "lr": 0.001 * (1 + name.position)})
        records.start_trial(trial, str(name.under_seed(0)), config, name.replicate)
        records.update_trial(trial, status="diverged" if value is None else "completed")
        if value is not None:
            records.add_epochs(trial, [{"epoch": 1, metric: value}])
            records.update_trial(trial, best_epoch=1)
    return records


@pytest.mark.parametrize(("metric", "median"), [("val_auroc", "t0001r2"), ("val_loss", "t0001r1")])
def test_a_finalist_with_a_diverged_replicate_cannot_win(
    tmp_path: Path, metric: str, median: str
) -> None:
    scores = {
        "t0000": 0.5, "t0000r1": 0.5, "t0000r2": None, "t0001": 0.5, "t0001r1": 0.7, "t0001r2": 0.6,
    }  # fmt: skip
    settings = SearchSettings.of({"metric": metric, "finalists": 2, "replicates": 2})
    plan: Any = SimpleNamespace(settings=settings, selects_nothing=False)
    records = _records(tmp_path, scores, metric)
    finalists = choose_finalists(plan, records)
    assert [finalist.trial for finalist in finalists] == ["t0000", "t0001"]
    (confirmed,) = confirmed_finalists(plan, records, finalists)
    assert confirmed.mean == pytest.approx(0.65)
    assert confirmed.median == median  # of two, the worse


def test_an_exhausted_time_budget_leaves_the_test_set_sealed(study: Run) -> None:
    finished = study(*CONFIRM, "--time-budget", "0.01", configs=CONFIGS)
    assert finished.manifest["test_set_opened"] == []
    assert finished.manifest["confirmed"] == []


def _unfinished(records: Records, finalists: list[Finalist] | None, *, requested: int = 1) -> bool:
    """Return True if a search of two trials with these finalists is unfinished."""
    settings = SearchSettings.of({"finalists": requested, "replicates": 2})
    plan: Any = SimpleNamespace(settings=settings, selects_nothing=False, trials=2)
    follow_up = FollowUp(plan, None, records, None)  # type: ignore[arg-type]
    follow_up.finalists = finalists
    return is_unfinished(plan, records, follow_up)


def test_replicates_that_are_no_longer_requested_do_not_leave_a_study_unfinished(
    tmp_path: Path,
) -> None:
    scores = {"t0000": 0.5, "t0000r1": 0.5, "t0000r2": 0.5, "t0001": 0.6, "t0001r1": 0.6}
    records = _records(tmp_path, scores, "val_auroc")
    for trial in ("t0000r1", "t0000r2", "t0001r1"):
        records.trials[trial]["seed"] = int(trial[-1])
    records.update_trial("t0000r2", status="interrupted")
    for trial, replicates, expected in (
        ("t0000", ("t0000r1", "t0000r2"), True),
        ("t0000", ("t0000r1",), False),  # fewer replicates are requested now
        ("t0001", ("t0001r1",), False),  # the unfinished replicate is of another finalist
    ):
        assert _unfinished(records, [Finalist(trial, trial, replicates)]) == expected
    assert not _unfinished(records, [], requested=0)
    assert _unfinished(records, None)  # the search ended, and no finalists were chosen
