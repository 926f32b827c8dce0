"""The trainable, called directly in this process as Tune calls it in a worker."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray import tune

from tune_bio.datasets.opening import open_dataset
from tune_bio.datasets.pixels import PixelFormat
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.trial_data import prepare_data
from tune_bio.ray_tune import trainable
from tune_bio.ray_tune.object_store import share_inputs
from tune_bio.ray_tune.resources import Allotment
from tune_bio.ray_tune.trainable import TrialActor, TrialContext
from tune_bio.ray_tune.trial_report import TrialReport
from tune_bio.ray_tune.watchdog import stall_file
from tune_bio.reuse import checkpoints
from tune_bio.reuse.prefixes import KeyContext, PrefixStore, folders_of, numbered_checkpoints
from tune_bio.training.fit import EpochResult

KEY_CONTEXT = KeyContext(metric="val_auroc", data="made", weights={}, threads=1)
PARAMS = {"model": "cnn", "width": 8, "epochs": 6, "image_size": 16, "dropout": 0.3}


@pytest.fixture
def actor(cluster: None, tiny_npz: Path, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that makes actors; studies in one `results` folder share checkpoints."""
    shared = share_inputs(
        {Geometry(16): prepare_data(open_dataset(str(tiny_npz)), Geometry(16))}, {}
    )

    def make(
        trial: str = "t0000",
        *,
        results: str = "results",
        study: str = "study",
        members: list[tuple[str, int]] | None = None,
        skip_to: int = 0,
        rungs: tuple[int, ...] = (2, 4),
        **params: Any,
    ) -> Any:
        context = TrialContext(
            shared=shared,
            allotment=Allotment(cpus=1, gpus=0, concurrent=1),
            metric="val_auroc",
            rungs=frozenset(rungs),
            store=PrefixStore(tmp_path / results / study, KEY_CONTEXT),
            stall_timeout=60.0,
        )
        job = {"trial": trial, "params": {**PARAMS, **params}, "skip_to": skip_to}
        if members is not None:
            job["members"] = members
        return tune.with_parameters(TrialActor, context=context)(job)

    return make


def _rows(reports: list[TrialReport]) -> list[dict[str, Any]]:
    timed = ("seconds", "images_per_second")
    rows = [row for report in reports for row in report.rows]
    return [{k: v for k, v in row.items() if k not in timed} for row in rows]


def _step(trainable: Any) -> TrialReport:
    """Take a step; check the values that Tune itself reads from its result."""
    result = trainable.step()
    report = TrialReport.of(result)
    assert report is not None
    assert result["epoch"] == report.epoch
    assert result["val_auroc"] == report.value
    assert result["done"] == report.finished
    return report


def _run(trainable: Any) -> list[TrialReport]:
    reports = [_step(trainable)]
    while not reports[-1].finished:
        reports.append(_step(trainable))
    return reports


def test_steps_end_at_rungs_and_report_the_data_for_a_decision(actor: Any) -> None:
    reports = _run(actor())
    assert {2, 4, 6} <= {report.epoch for report in reports}
    assert [row["epoch"] for row in _rows(reports)] == list(range(1, 7))
    for report in reports:
        assert report.value == report.rows[-1]["val_auroc"]
        assert report.finished == (report.epoch == 6)
    decisive = [report for report in reports if report.epoch in (2, 4, 6)]
    assert decisive[0].probabilities is not None
    assert decisive[0].probabilities.shape == (48, 2)
    assert decisive[0].train_accuracy_at_best is not None
    assert 0 <= decisive[0].train_accuracy_at_best <= 1


def test_each_rung_has_a_checkpoint_in_json_and_safetensors(actor: Any, tmp_path: Path) -> None:
    first = actor()
    _run(first)
    study = tmp_path / "results" / "study"
    (folder,) = folders_of(study, "t0000")
    assert [path.name for path in numbered_checkpoints(folder)] == ["2", "4", "6"]
    for checkpoint in numbered_checkpoints(folder):
        state = json.loads((checkpoint / "state.json").read_text())
        assert state["epoch"] == int(checkpoint.name)
        assert {p.suffix for p in checkpoint.iterdir()} == {".json", ".safetensors"}
    assert not stall_file(study, "t0000").exists()


def test_tunes_own_save_and_restore_continue_bit_identically(actor: Any, tmp_path: Path) -> None:
    expected = _rows(_run(actor(results="whole")))
    first = actor(results="cut")
    earlier = [_step(first)]
    first.save_checkpoint(str(tmp_path))
    second = actor(results="continued")
    second.load_checkpoint(str(tmp_path))
    assert _rows(earlier + _run(second)) == expected


def test_a_reset_removes_all_state_of_the_previous_trial(actor: Any) -> None:
    expected = _rows(_run(actor(results="fresh", lr=0.01)))
    used = actor(lr=0.1, optimizer="sgd", seed=5)
    used.step()
    params = {**PARAMS, "lr": 0.01}
    assert used.reset_config({"trial": "t0001", "params": params})
    assert _rows(_run(used)) == expected


def test_trials_that_overtake_each_other_train_each_epoch_once(actor: Any) -> None:
    """Both begin the same training; the second is faster, and the first continues from it."""
    first, second = actor(), actor("t0001")
    earlier = [_step(first)]
    assert earlier[0].epoch == 2
    overtaking = _run(second)
    assert (overtaking[-1].reused_epochs, overtaking[-1].reused_from) == (2, "t0000")
    reports = earlier + _run(first)
    assert (reports[-1].reused_epochs, reports[-1].reused_from) == (4, "t0001")
    assert _rows(reports) == _rows(overtaking)
    own, taken = first.history.rows[:2], first.history.rows[2:]
    assert [row["seconds"] for row in own] == [row["seconds"] for row in earlier[0].rows]
    assert [row["seconds"] for row in taken] == [
        row["seconds"] for report in overtaking for row in report.rows if row["epoch"] > 2
    ]


@pytest.mark.parametrize(("study", "source"), [("study", "t0000"), ("another", "study/t0000")])
def test_a_longer_trial_continues_where_a_shorter_one_ended(
    actor: Any, study: str, source: str
) -> None:
    expected = _run(actor(results="alone", epochs=9))
    _run(actor(epochs=6))
    longer = actor("t0001", study=study, epochs=9)
    trained = _count_training(longer)
    reports = _run(longer)
    assert trained == [7, 8, 9]
    assert _rows(reports) == _rows(expected)
    assert (reports[-1].reused_from, reports[-1].reused_epochs) == (source, 6)
    np.testing.assert_array_equal(reports[-1].probabilities, _last(expected, "probabilities"))
    assert reports[-1].train_accuracy_at_best == _last(expected, "train_accuracy_at_best")
    assert {2, 4, 6} <= {report.epoch for report in reports}, "rungs are passed one by one"


def test_a_shorter_trial_takes_its_epochs_from_the_rungs_of_a_longer_one(actor: Any) -> None:
    expected = _run(actor(results="alone", epochs=5))
    _run(actor(epochs=9))
    shorter = actor("t0001", epochs=5)
    trained = _count_training(shorter)
    assert _rows(_run(shorter)) == _rows(expected)
    assert trained == [5]


def test_an_equal_trial_trains_nothing(actor: Any) -> None:
    expected = _rows(_run(actor()))
    again = actor("t0001")
    trained = _count_training(again)
    assert _rows(_run(again)) == expected
    assert trained == []


@pytest.mark.parametrize(
    "other", [{"lr": 0.02}, {"seed": 1}, {"lr_schedule": "cosine"}, {"warmup_epochs": 9}]
)
def test_nothing_is_reused_if_the_first_epochs_differ(actor: Any, other: dict[str, Any]) -> None:
    _run(actor(**({"lr_schedule": "cosine"} if "lr_schedule" in other else {})))
    longer = actor("t0001", epochs=9, **other)
    trained = _count_training(longer)
    _run(longer)
    assert trained == list(range(1, 10))


def test_a_damaged_checkpoint_is_skipped(actor: Any, tmp_path: Path) -> None:
    expected = _rows(_run(actor(results="alone", epochs=9)))
    _run(actor(epochs=6))
    (folder,) = folders_of(tmp_path / "results" / "study", "t0000")
    for epoch in (4, 6):
        (folder / str(epoch) / "optimizer.safetensors").write_bytes(b"damaged")
    longer = actor("t0001", study="another", epochs=9)
    trained = _count_training(longer)
    assert _rows(_run(longer)) == expected
    assert trained == list(range(3, 10))


def test_a_resumed_trial_continues_from_its_last_checkpoint_at_once(actor: Any) -> None:
    first = actor(epochs=9)
    while _step(first).epoch < 4:
        pass
    again = actor(epochs=9, skip_to=9)
    report = _step(again)
    assert report.epoch == 4
    assert [row["epoch"] for row in report.rows] == [1, 2, 3, 4]
    assert report.reused_from is None, "the trial trained these epochs itself"


def test_a_resumed_training_stops_at_each_end_that_has_no_record(actor: Any) -> None:
    members = [("t0000", 3), ("t0001", 5), ("t0002", 8)]
    whole = _run(actor("t0002", members=members, rungs=(), epochs=8))
    again = actor("t0002", members=members, rungs=(), epochs=8, skip_to=3)
    trained = _count_training(again)
    reports = _run(again)
    assert [report.epoch for report in reports] == [3, 5, 8]
    assert trained == []
    assert _rows(reports) == _rows(whole)


def test_a_training_for_several_trials_stops_at_the_end_of_each(actor: Any, tmp_path: Path) -> None:
    members = [("t0000", 3), ("t0001", 5), ("t0002", 8)]
    reports = _run(actor("t0002", members=members, rungs=(), epochs=8))
    assert {3, 5, 8} <= {report.epoch for report in reports}
    for trial, epochs in members:
        (folder,) = folders_of(tmp_path / "results" / "study", trial)
        best = checkpoints.load_best(folder / str(epochs))
        assert best is not None
        assert best.epoch <= epochs


def _count_training(actor: Any) -> list[int]:
    """Return a list that fills with the epochs that an actor computes from now on."""
    trained: list[int] = []
    epochs = actor.epochs

    def counted() -> Iterator[EpochResult]:
        for result in epochs:
            trained.append(result.epoch)
            yield result

    actor.epochs = counted()
    return trained


def _last(reports: list[TrialReport], name: str) -> Any:
    values = [getattr(report, name) for report in reports]
    return [value for value in values if value is not None][-1]


def test_shared_images_are_read_in_place(actor: Any) -> None:
    pixels = actor().data.train.pixels
    assert not pixels.flags.writeable, "a copy would be writeable, and cost memory in every actor"
    assert not pixels.flags.owndata
    assert isinstance(pixels, np.ndarray)


def test_a_checkpoint_that_another_trial_needs_is_kept(
    actor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two lengths of one training run concurrently; each epoch is saved, as if it were slow."""
    monkeypatch.setattr(trainable, "STEP_SECONDS", 0.0)
    monkeypatch.setattr(trainable, "CHECKPOINT_SECONDS", 0.0)
    long, short = actor("t0000", rungs=(), epochs=6), actor("t0001", rungs=(), epochs=3)
    for _ in range(3):
        long.step()
        short.step()
    for _ in range(3):
        long.step()
    (folder,) = folders_of(tmp_path / "results" / "study", "t0001")
    assert folders_of(tmp_path / "results" / "study", "t0000") == [folder]
    assert {"3", "6"} <= {path.name for path in numbered_checkpoints(folder)}
    assert checkpoints.load_best(folder / "3") is not None


def test_a_full_disk_costs_a_checkpoint_but_not_the_training(
    actor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = checkpoints.save

    def full(folder: Path, *rest: Any) -> None:
        if int(folder.name) < 6:
            raise OSError(28, "No space left on device")
        save(folder, *rest)

    monkeypatch.setattr(checkpoints, "save", full)
    assert [row["epoch"] for row in _rows(_run(actor()))] == list(range(1, 7))
    (folder,) = folders_of(tmp_path / "results" / "study", "t0000")
    assert [path.name for path in numbered_checkpoints(folder)] == ["6"]
    monkeypatch.setattr(checkpoints, "save", lambda *rest: full(Path("1")))
    with pytest.raises(OSError, match="No space left"):  # the best weights would be lost
        _run(actor(results="none"))


def test_the_reuse_key_depends_on_the_pixel_format(actor: Any) -> None:
    trial_actor = actor()
    grey = trial_actor.data.reuse_tag
    other = replace(trial_actor.data, format=PixelFormat(1, 10280.0, 51143.0))
    assert grey != other.reuse_tag
    assert grey != replace(trial_actor.data, format=PixelFormat(3)).reuse_tag
