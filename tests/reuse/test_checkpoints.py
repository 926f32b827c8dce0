"""Checkpoints: a continued trial equals one that was never interrupted."""

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


def _start(trial_config: TrialConfig, data: TrialData) -> TrainingState:
    backbone = None if trial_config.weights == "none" else foreign_backbone(trial_config)
    return TrainingState(trial_config, data, backbone=backbone)


def _save_after_one_epoch(folder: Path) -> TrainingState:
    """Train one epoch, save a checkpoint, and return the state."""
    trial_config = config("ann")
    data = trial_data(trial_config)
    state = _start(trial_config, data)
    train_epoch(state, data)
    checkpoints.save(folder, state, HISTORY)
    return state


def _drop_optimizer(folder: Path) -> None:
    """Remove the files that only a continued trial needs, as a cleanup does."""
    for name in (checkpoints.OPTIMIZER, checkpoints.LAST):
        (folder / name).unlink(missing_ok=True)


def _content(state: TrainingState) -> tuple[Any, ...]:
    weights, optimizer, values = state.save()
    best = state.best
    assert best is not None
    best_tensors = {**best.weights, "p": torch.from_numpy(best.probabilities)}
    optimizer_copy = {name: tensor.clone() for name, tensor in optimizer.items()}
    return weights, optimizer_copy, best_tensors, values, (best.epoch, best.value)


def _assert_equal(a: tuple[Any, ...], b: tuple[Any, ...]) -> None:
    for tensors, others in zip(a[:3], b[:3], strict=True):
        assert same(tensors, others)
    assert a[3:] == b[3:]


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS)
def test_a_continued_trial_is_bit_identical_to_the_uninterrupted_one(
    tmp_path: Path, params: dict[str, Any]
) -> None:
    trial_config = config(**{"lr": 0.01, **params}, epochs=EPOCHS)
    data = trial_data(trial_config)
    uninterrupted = _start(trial_config, data)
    expected = []
    for result in fit(trial_config, data, uninterrupted):
        expected.append(result)
        checkpoints.save(tmp_path / f"{result.epoch}", uninterrupted, HISTORY)
    for epoch in range(1, len(expected)):
        torch.manual_seed(epoch)
        continued = _start(trial_config, data)
        checkpoints.load(tmp_path / f"{epoch}", continued)
        assert continued.epoch == epoch
        results = list(fit(trial_config, data, continued))
        assert timeless(results) == timeless(expected[epoch:])
        _assert_equal(_content(continued), _content(uninterrupted))


def test_saving_and_loading_restore_everything(tmp_path: Path) -> None:
    trial_config = config("ann")
    data = trial_data(trial_config)
    state = _start(trial_config, data)
    row = train_epoch(state, data).row()
    history = History([row], "a/t0001", "b/t0000", 1, {"1": 0.1 + 0.2})
    checkpoints.save(tmp_path / "1", state, history)
    restored = _start(trial_config, data)
    assert checkpoints.load(tmp_path / "1", restored) == history
    _assert_equal(_content(restored), _content(state))


@pytest.mark.parametrize("lr", [0.01, 1e-30])
def test_the_last_weights_are_written_only_if_they_are_not_the_best(
    tmp_path: Path, lr: float
) -> None:
    trial_config = config("cnn", optimizer="sgd", lr=lr, epochs=3)
    data = trial_data(trial_config)
    state = _start(trial_config, data)
    previous = None
    for result in fit(trial_config, data, state):
        folder = tmp_path / f"{result.epoch}"
        checkpoints.save(folder, state, HISTORY, previous)
        previous = folder
    assert state.best is not None
    expected = {"state.json", "optimizer.safetensors", "best.safetensors"}
    if state.best.epoch < 3:
        expected.add("last.safetensors")
    assert {path.name for path in folder.iterdir()} == expected
    best = checkpoints.load_best(folder)
    assert best is not None
    assert same(best.weights, state.best.weights)


def test_the_best_epoch_is_stored_once(tmp_path: Path) -> None:
    trial_config = config("cnn", optimizer="sgd", lr=1e-30, epochs=3)
    data = trial_data(trial_config)
    state = _start(trial_config, data)
    for result in fit(trial_config, data, state):
        folder = tmp_path / f"{result.epoch}"
        checkpoints.save(folder, state, HISTORY, tmp_path / f"{result.epoch - 1}")
    assert state.best is not None
    assert state.best.epoch == 1
    files = {(tmp_path / str(epoch) / "best.safetensors").stat().st_ino for epoch in (1, 2, 3)}
    assert len(files) == 1


def test_with_a_frozen_backbone_only_the_head_is_written(tmp_path: Path) -> None:
    trial_config = config("resnet18", weights="imagenet", freeze="backbone")
    data = trial_data(trial_config, train=8, val=4)
    state = _start(trial_config, data)
    train_epoch(state, data)
    checkpoints.save(tmp_path / "1", state, HISTORY)
    assert sum(path.stat().st_size for path in (tmp_path / "1").iterdir()) < 50_000


def test_a_diverged_trial_is_saved_with_its_state(tmp_path: Path) -> None:
    trial_config = config("cnn", optimizer="sgd", lr=100.0, dropout=0.0, epochs=20)
    data = trial_data(trial_config)
    state = _start(trial_config, data)
    list(fit(trial_config, data, state))
    checkpoints.save(tmp_path / "1", state, HISTORY)
    restored = _start(trial_config, data)
    checkpoints.load(tmp_path / "1", restored)
    assert restored.diverged
    assert restored.finished
    assert (checkpoints.load_best(tmp_path / "1") is None) == (state.best is None)


def test_an_interrupted_save_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial_config = config("ann", lr=0.01)
    data = trial_data(trial_config)
    state = _start(trial_config, data)
    train_epoch(state, data)

    def fail(path: Path) -> str:
        raise OSError("killed")

    monkeypatch.setattr(checkpoints, "file_sha256", fail)
    with pytest.raises(OSError, match="killed"):
        checkpoints.save(tmp_path / "1", state, HISTORY)
    assert list(tmp_path.iterdir()) == []


def test_a_complete_checkpoint_is_not_written_again(tmp_path: Path) -> None:
    state = _save_after_one_epoch(tmp_path / "1")
    inode = (tmp_path / "1" / "state.json").stat().st_ino
    checkpoints.save(tmp_path / "1", state, HISTORY)
    assert (tmp_path / "1" / "state.json").stat().st_ino == inode
    _drop_optimizer(tmp_path / "1")
    assert not checkpoints.is_complete(tmp_path / "1")
    checkpoints.save(tmp_path / "1", state, HISTORY)
    assert checkpoints.is_complete(tmp_path / "1")


def test_without_the_optimizer_the_best_epoch_can_still_be_loaded(tmp_path: Path) -> None:
    _save_after_one_epoch(tmp_path / "1")
    _drop_optimizer(tmp_path / "1")
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
def test_a_missing_or_damaged_checkpoint_is_reported_and_leaves_the_state_unchanged(
    tmp_path: Path, damage: str | None, kind: str
) -> None:
    trial_config = config("ann")
    data = trial_data(trial_config)
    state = _start(trial_config, data)
    if damage is not None:
        train_epoch(state, data)
        checkpoints.save(tmp_path / "1", state, HISTORY)
        path = tmp_path / "1" / damage
        content = bytearray(path.read_bytes())
        content[-3] ^= 1
        path.write_bytes(content if kind == "flipped" else content[:20])
    fresh = _start(trial_config, data)
    before = fresh.save()
    with pytest.raises(ResultsError, match="run the trial again"):
        checkpoints.load(tmp_path / "1", fresh)
    after = fresh.save()
    assert all(same(a, b) for a, b in zip(before[:2], after[:2], strict=True))
    assert before[2] == after[2]


def test_a_reduced_checkpoint_is_kept_until_the_new_one_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "1"
    state = _save_after_one_epoch(folder)
    _drop_optimizer(folder)
    best = checkpoints.load_best(folder)
    assert best is not None

    def fail(*rest: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_write_files", fail)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(folder, state, HISTORY)
    still_best = checkpoints.load_best(folder)
    assert still_best is not None
    assert still_best.epoch == best.epoch
    monkeypatch.undo()
    checkpoints.save(folder, state, HISTORY)
    assert checkpoints.is_complete(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
