"""Checkpoints: a trial that is continued is the trial that was never interrupted."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.data_factory import config, foreign_backbone, same, timeless, trial_data
from tune_bio.datasets.trial_data import TrialData
from tune_bio.errors import ResultsError
from tune_bio.reuse import checkpoints
from tune_bio.reuse.checkpoints import History
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.fit import fit, train_epoch
from tune_bio.training.state import TrainingState

EPOCHS = 4
HISTORY = History(rows=[], trial="study/t0000")
VARIANTS: dict[str, dict[str, Any]] = {
    "adam": {"model": "ann", "dropout": 0.5},
    "adamw, warm-up": {"model": "cnn", "optimizer": "adamw", "weight_decay": 0.1,
                       "warmup_epochs": 2},
    "sgd": {"model": "cnn", "dropout": 0.5, "optimizer": "sgd"},
    "sgd without momentum": {"model": "cnn_gap", "optimizer": "sgd", "momentum": 0.0},
    "step": {"model": "ann", "lr_schedule": "step", "step_size": 1, "gamma": 0.5},
    "cosine": {"model": "cnn", "dropout": 0.5, "lr_schedule": "cosine"},
    "patience": {"model": "ann", "patience": 2, "lr": 0.1},
    "lp_ft": {"model": "resnet18", "weights": "imagenet", "freeze": "lp_ft", "lp_epochs": 2,
              "lr_schedule": "cosine", "dropout": 0.5},
    "backbone": {"model": "resnet18", "weights": "imagenet", "freeze": "backbone"},
    "backbone_bn": {"model": "resnet18", "weights": "imagenet", "freeze": "backbone_bn"},
    "stages": {"model": "mobilenet_v3_small", "weights": "imagenet", "freeze": "stages_3"},
    "gradual": {"model": "resnet18", "weights": "imagenet", "freeze": "gradual",
                "unfreeze_every": 1, "lr_schedule": "cosine"},
    "mnasnet": {"model": "mnasnet0_5"},
    "onecycle": {"model": "cnn", "lr_schedule": "onecycle", "optimizer": "sgd"},
    "augmented": {"model": "cnn", "augment": "trivial", "dropout": 0.5},
}  # fmt: skip


def _start(chosen: TrialConfig, data: TrialData) -> TrainingState:
    backbone = None if chosen.weights == "none" else foreign_backbone(chosen)
    return TrainingState(chosen, data, backbone=backbone)


def _saved(folder: Path) -> TrainingState:
    """A state after its first epoch, saved."""
    chosen = config("ann")
    data = trial_data(chosen)
    state = _start(chosen, data)
    train_epoch(state, data)
    checkpoints.save(folder, state, HISTORY)
    return state


def _everything(state: TrainingState) -> tuple[Any, ...]:
    weights, optimizer, values = state.save()
    best = state.best
    assert best is not None
    kept = {**best.weights, "p": torch.from_numpy(best.probabilities)}
    of_now = {name: tensor.clone() for name, tensor in optimizer.items()}
    return weights, of_now, kept, values, (best.epoch, best.value)


def _assert_equal(a: tuple[Any, ...], b: tuple[Any, ...]) -> None:
    for tensors, others in zip(a[:3], b[:3], strict=True):
        assert same(tensors, others)
    assert a[3:] == b[3:]


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS)
def test_a_continued_trial_is_bit_identical_to_the_uninterrupted_one(
    tmp_path: Path, params: dict[str, Any]
) -> None:
    chosen = config(**{"lr": 0.01, **params}, epochs=EPOCHS)
    data = trial_data(chosen)
    whole = _start(chosen, data)
    expected = []
    for result in fit(chosen, data, whole):
        expected.append(result)
        checkpoints.save(tmp_path / f"{result.epoch}", whole, HISTORY)
    for epoch in range(1, len(expected)):
        torch.manual_seed(epoch)
        continued = _start(chosen, data)
        checkpoints.load(tmp_path / f"{epoch}", continued)
        assert continued.epoch == epoch
        results = list(fit(chosen, data, continued))
        assert timeless(results) == timeless(expected[epoch:])
        _assert_equal(_everything(continued), _everything(whole))


def test_saving_and_loading_give_back_everything(tmp_path: Path) -> None:
    chosen = config("ann")
    data = trial_data(chosen)
    state = _start(chosen, data)
    row = train_epoch(state, data).row()
    history = History([row], "a/t0001", "b/t0000", 1, {"1": 0.1 + 0.2})
    checkpoints.save(tmp_path / "1", state, history)
    again = _start(chosen, data)
    assert checkpoints.load(tmp_path / "1", again) == history
    _assert_equal(_everything(again), _everything(state))


@pytest.mark.parametrize("lr", [0.01, 1e-30])
def test_the_last_weights_are_written_only_where_they_are_not_the_best(
    tmp_path: Path, lr: float
) -> None:
    chosen = config("cnn", optimizer="sgd", lr=lr, epochs=3)
    data = trial_data(chosen)
    state = _start(chosen, data)
    before = None
    for result in fit(chosen, data, state):
        folder = tmp_path / f"{result.epoch}"
        checkpoints.save(folder, state, HISTORY, before)
        before = folder
    assert state.best is not None
    expected = {"state.json", "optimizer.safetensors", "best.safetensors"}
    if state.best.epoch < 3:
        expected.add("last.safetensors")
    assert {path.name for path in folder.iterdir()} == expected
    best = checkpoints.load_best(folder)
    assert best is not None
    assert same(best.weights, state.best.weights)


def test_the_best_epoch_is_on_disk_once(tmp_path: Path) -> None:
    chosen = config("cnn", optimizer="sgd", lr=1e-30, epochs=3)
    data = trial_data(chosen)
    state = _start(chosen, data)
    for result in fit(chosen, data, state):
        folder = tmp_path / f"{result.epoch}"
        checkpoints.save(folder, state, HISTORY, tmp_path / f"{result.epoch - 1}")
    assert state.best is not None
    assert state.best.epoch == 1
    files = {(tmp_path / str(epoch) / "best.safetensors").stat().st_ino for epoch in (1, 2, 3)}
    assert len(files) == 1


def test_under_a_frozen_backbone_only_the_head_is_written(tmp_path: Path) -> None:
    chosen = config("resnet18", weights="imagenet", freeze="backbone")
    data = trial_data(chosen, train=8, val=4)
    state = _start(chosen, data)
    train_epoch(state, data)
    checkpoints.save(tmp_path / "1", state, HISTORY)
    assert sum(path.stat().st_size for path in (tmp_path / "1").iterdir()) < 50_000


def test_a_diverged_trial_is_saved_with_its_state(tmp_path: Path) -> None:
    chosen = config("cnn", optimizer="sgd", lr=100.0, dropout=0.0, epochs=20)
    data = trial_data(chosen)
    state = _start(chosen, data)
    list(fit(chosen, data, state))
    checkpoints.save(tmp_path / "1", state, HISTORY)
    again = _start(chosen, data)
    checkpoints.load(tmp_path / "1", again)
    assert again.diverged
    assert again.finished
    assert (checkpoints.load_best(tmp_path / "1") is None) == (state.best is None)


def test_a_save_that_is_cut_off_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = config("ann", lr=0.01)
    data = trial_data(chosen)
    state = _start(chosen, data)
    train_epoch(state, data)

    def killed(path: Path) -> str:
        raise OSError("killed")

    monkeypatch.setattr(checkpoints, "file_sha256", killed)
    with pytest.raises(OSError, match="killed"):
        checkpoints.save(tmp_path / "1", state, HISTORY)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    state = _saved(tmp_path / "1")
    before = (tmp_path / "1" / "state.json").stat().st_ino
    checkpoints.save(tmp_path / "1", state, HISTORY)
    assert (tmp_path / "1" / "state.json").stat().st_ino == before
    checkpoints.drop_optimizer(tmp_path / "1")
    assert not checkpoints.is_complete(tmp_path / "1")
    checkpoints.save(tmp_path / "1", state, HISTORY)
    assert checkpoints.is_complete(tmp_path / "1")


def test_without_the_optimizer_the_best_epoch_is_still_there(tmp_path: Path) -> None:
    _saved(tmp_path / "1")
    checkpoints.drop_optimizer(tmp_path / "1")
    best = checkpoints.load_best(tmp_path / "1")
    assert best is not None
    assert best.epoch == 1


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (None, ""),
        ("state.json", "cut"),
        ("optimizer.safetensors", "cut"),
        ("optimizer.safetensors", "flipped"),
        ("best.safetensors", "cut"),
        ("best.safetensors", "flipped"),
    ],
)
def test_a_checkpoint_that_is_missing_or_damaged_is_told_and_changes_nothing(
    tmp_path: Path, damage: str | None, kind: str
) -> None:
    chosen = config("ann")
    data = trial_data(chosen)
    state = _start(chosen, data)
    if damage is not None:
        train_epoch(state, data)
        checkpoints.save(tmp_path / "1", state, HISTORY)
        path = tmp_path / "1" / damage
        content = bytearray(path.read_bytes())
        content[-3] ^= 1
        path.write_bytes(content if kind == "flipped" else content[:20])
    fresh = _start(chosen, data)
    before = fresh.save()
    with pytest.raises(ResultsError, match="run the trial again"):
        checkpoints.load(tmp_path / "1", fresh)
    after = fresh.save()
    assert all(same(a, b) for a, b in zip(before[:2], after[:2], strict=True))
    assert before[2] == after[2]


def test_what_a_cleaning_has_left_goes_only_when_the_new_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "1"
    state = _saved(folder)
    checkpoints.drop_optimizer(folder)
    best = checkpoints.load_best(folder)
    assert best is not None

    def full(*rest: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_write_files", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(folder, state, HISTORY)
    again = checkpoints.load_best(folder)
    assert again is not None
    assert again.epoch == best.epoch
    monkeypatch.undo()
    checkpoints.save(folder, state, HISTORY)
    assert checkpoints.is_complete(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
