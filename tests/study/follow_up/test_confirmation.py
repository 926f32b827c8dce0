"""Finalists are trained again under fresh seeds, and only then is the test set opened."""

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


def test_the_best_are_trained_again_and_only_they_see_the_test_set(
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
    assert winner["mean"] == max(one["mean"] for one in finished.manifest["confirmed"])
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
    """The replicates alone have seen it, and are scored with intervals."""
    seen = [t for one in finished.manifest["confirmed"] for t in one["scores"]]
    predictions = read_predictions(finished.folder)
    on_test = predictions[predictions["split"] == "test"]
    assert set(on_test["trial"]) == set(seen)
    (opening,) = finished.manifest["test_set_opened"]
    assert opening["images"] == 48
    assert sorted(opening["trials"]) == sorted(seen)
    tests = finished.trials["test_auroc"]
    assert set(tests.dropna().index) == set(seen)

    # What is on record is what the exported model gives by itself.
    model = tune_bio.load_model(finished.folder)
    data = np.load(tiny_npz)
    exported = _best(finished.folder)["trial"]
    recorded = on_test[on_test["trial"] == exported][["p_0", "p_1"]].to_numpy()
    np.testing.assert_allclose(model.predict(data["test_images"]), recorded, atol=1e-6)
    labels = data["test_labels"].ravel()
    named = model.classify(data["test_images"]).astype(int)
    evaluations = read_evaluations(finished.folder)
    ours = evaluations[evaluations["trial"] == exported].set_index(["split", "metric"])
    sensitivity = (named[labels == 1] == 1).mean()
    assert ours.loc[("test", "sensitivity"), "value"] == pytest.approx(sensitivity)
    for split in ("val", "test"):
        auroc = ours.loc[(split, "auroc")]
        assert auroc["low"] < auroc["value"] <= auroc["high"]
    validation = predictions[(predictions["split"] == "val") & (predictions["trial"] == exported)]
    chosen = choose_threshold(
        validation["label"].to_numpy(), validation[["p_0", "p_1"]].to_numpy(float), 1
    )
    assert model.threshold == pytest.approx(chosen, abs=1e-6)


def test_what_the_test_split_holds_changes_nothing_before_it_is_opened(
    study: Run, tiny_npz: Path, tmp_path: Path
) -> None:
    arrays = dict(np.load(tiny_npz))
    rng = np.random.default_rng(1)
    arrays["test_images"] = rng.integers(0, 256, arrays["test_images"].shape).astype(np.uint8)
    arrays["test_labels"] = rng.permutation(arrays["test_labels"])
    noise = tmp_path / "noise.npz"
    np.savez(noise, **arrays)
    real = study(*CONFIRM, configs=CONFIGS, name="real")
    other = study(*CONFIRM, "--data", str(noise), configs=CONFIGS, name="noise")

    timed = ["seconds", "seconds_per_epoch", "reused_from", "epochs_trained"]
    tested = [column for column in real.trials.columns if column.startswith("test_")]
    pd.testing.assert_frame_equal(
        real.trials.drop(columns=[*timed, *tested]), other.trials.drop(columns=[*timed, *tested])
    )
    assert not real.trials[tested].equals(other.trials[tested])
    clocks = ["seconds", "images_per_second"]
    pd.testing.assert_frame_equal(
        real.epochs.drop(columns=clocks), other.epochs.drop(columns=clocks)
    )
    shown = [read_predictions(one.folder).query("split == 'val'") for one in (real, other)]
    pd.testing.assert_frame_equal(*shown)
    assert real.manifest["confirmed"] == other.manifest["confirmed"]
    assert real.manifest["thresholds"] == other.manifest["thresholds"]


def test_a_grid_is_replicated_whole_and_nothing_is_selected(study: Run) -> None:
    finished = study("--finalists", "all", "--replicates", "2", configs=CONFIGS)
    assert len(finished.trials) == 6
    for one in finished.manifest["confirmed"]:
        assert list(one["scores"]) == [one["trial"], f"{one['trial']}r1"]
    assert finished.trials["test_auroc"].notna().all()
    # Two cells differ in their length alone: their replicates are one training, too.
    shorter, longer = finished.trials.loc["t0001r1"], finished.trials.loc["t0002r1"]
    assert longer["reused_from"] == "t0001r1"
    assert shorter["epochs_trained"] + longer["epochs_trained"] == 3


def test_a_finished_search_is_confirmed_later_and_opens_the_test_set_once(study: Run) -> None:
    bare = study("--finalists", "0", configs=CONFIGS)
    assert bare.manifest["test_set_opened"] == []
    assert bare.trials["test_auroc"].isna().all()
    first = study(*CONFIRM, "--resume", configs=CONFIGS)
    assert len(first.manifest["test_set_opened"]) == 1
    trials, evaluations = first.trials, read_evaluations(first.folder)
    assert len(trials) == 9
    again = study(*CONFIRM, "--resume", configs=CONFIGS)
    assert again.manifest["test_set_opened"] == first.manifest["test_set_opened"]
    pd.testing.assert_frame_equal(again.trials, trials)
    pd.testing.assert_frame_equal(read_evaluations(again.folder), evaluations)


@pytest.mark.slow
def test_another_study_of_the_same_images_says_that_they_were_opened(study: Run) -> None:
    flags = ("--finalists", "1", "--replicates", "1")
    study(*flags, configs=CONFIGS[:1], name="first")
    second = study(*flags, configs=CONFIGS[1:2], name="second")
    (before,) = second.manifest["test_set_opened_before"]
    assert before["study"] == "first"
    assert "had been opened by the study first" in (second.folder / "summary.md").read_text()


def _records(tmp_path: Path, scores: dict[str, float | None], metric: str) -> Records:
    nobody = np.array([], dtype=str)
    records = Records(tmp_path, ("a", "b"), nobody, nobody, np.array([], dtype=np.int64))
    for trial, value in scores.items():
        base, _, replicate = trial.partition("r")
        config = TrialConfig.of({"model": "ann", "lr": 0.001 * (1 + int(base[1:]))})
        records.start_trial(trial, base, config, int(replicate or 0))
        records.update_trial(trial, status="diverged" if value is None else "completed")
        if value is not None:
            records.add_epochs(trial, [{"epoch": 1, metric: value}])
            records.update_trial(trial, best_epoch=1)
    return records


@pytest.mark.parametrize(("metric", "middle"), [("val_auroc", "t0001r2"), ("val_loss", "t0001r1")])
def test_a_finalist_with_a_diverged_replicate_cannot_win(
    tmp_path: Path, metric: str, middle: str
) -> None:
    scores = {
        "t0000": 0.5, "t0000r1": 0.5, "t0000r2": None, "t0001": 0.5, "t0001r1": 0.7, "t0001r2": 0.6,
    }  # fmt: skip
    settings = SearchSettings.of({"metric": metric, "finalists": 2, "replicates": 2})
    plan: Any = SimpleNamespace(settings=settings, selects_nothing=False)
    records = _records(tmp_path, scores, metric)
    finalists = choose_finalists(plan, records)
    assert [one.trial for one in finalists] == ["t0000", "t0001"]
    (one,) = confirmed_finalists(plan, records, finalists)
    assert one.mean == pytest.approx(0.65)
    assert one.median == middle  # of two, the worse


def test_a_budget_that_is_used_up_leaves_the_test_set_sealed(study: Run) -> None:
    finished = study(*CONFIRM, "--time-budget", "0.01", configs=CONFIGS)
    assert finished.manifest["test_set_opened"] == []
    assert finished.manifest["confirmed"] == []


def _args(records: Records, chosen: Any, **settings: Any) -> tuple[Any, Records, Any]:
    given = SearchSettings.of({"finalists": 1, "replicates": 2, **settings})
    plan: Any = SimpleNamespace(settings=given, selects_nothing=False, trials=2)
    after = FollowUp(plan, None, records, None)  # type: ignore[arg-type]
    after.finalists = chosen
    return plan, records, after


def test_what_is_no_longer_wanted_does_not_keep_a_study_from_ending(tmp_path: Path) -> None:
    scores = {"t0000": 0.5, "t0000r1": 0.5, "t0000r2": 0.5, "t0001": 0.6, "t0001r1": 0.6}
    records = _records(tmp_path, scores, "val_auroc")
    for trial in ("t0000r1", "t0000r2", "t0001r1"):
        records.trials[trial]["seed"] = int(trial[-1])
    records.update_trial("t0000r2", status="interrupted")
    for finalist, replicates, unfinished in (
        ("t0000", ("t0000r1", "t0000r2"), True),
        ("t0000", ("t0000r1",), False),  # fewer are wanted now
        ("t0001", ("t0001r1",), False),  # or another finalist's
    ):
        wanted = [Finalist(finalist, finalist, replicates)]
        assert is_unfinished(*_args(records, wanted)) == unfinished
    assert not is_unfinished(*_args(records, [], finalists=0))
    assert is_unfinished(*_args(records, None))  # the search ended, and nobody was asked
