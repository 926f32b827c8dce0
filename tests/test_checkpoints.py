"""Checkpoints: a trial that is continued is the trial that was never interrupted."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fixtures_data import config, foreign_backbone, same, timeless, trial_data
from tune_bio import checkpoints
from tune_bio.config import TrialConfig
from tune_bio.datasets.transforms import TrialData
from tune_bio.errors import ResultsError
from tune_bio.training import TrainingState, fit, train_epoch

EPOCHS = 4
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
        checkpoints.save(tmp_path / f"{result.epoch}", whole)
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
    train_epoch(state, data)
    checkpoints.save(tmp_path, state)
    again = _start(chosen, data)
    checkpoints.load(tmp_path, again)
    _assert_equal(_everything(again), _everything(state))


@pytest.mark.parametrize("lr", [0.01, 1e-30])
def test_a_folder_holds_the_latest_epoch_and_the_best_and_nothing_older(
    tmp_path: Path, lr: float
) -> None:
    chosen = config("cnn", optimizer="sgd", lr=lr, epochs=3)
    data = trial_data(chosen)
    state = _start(chosen, data)
    for _ in fit(chosen, data, state):
        checkpoints.save(tmp_path, state)
    assert state.best is not None
    expected = {"state.json", "optimizer-3.safetensors", f"best-{state.best.epoch}.safetensors"}
    if state.best.epoch < 3:
        expected.add("last-3.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == expected
    best = checkpoints.load_best(tmp_path)
    assert best is not None
    assert same(best.weights, state.best.weights)


def test_under_a_frozen_backbone_only_the_head_is_written(tmp_path: Path) -> None:
    chosen = config("resnet18", weights="imagenet", freeze="backbone")
    data = trial_data(chosen, train=8, val=4)
    state = _start(chosen, data)
    train_epoch(state, data)
    checkpoints.save(tmp_path, state)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 50_000


def test_a_diverged_trial_is_saved_with_its_state(tmp_path: Path) -> None:
    chosen = config("cnn", optimizer="sgd", lr=100.0, epochs=20)
    data = trial_data(chosen)
    state = _start(chosen, data)
    list(fit(chosen, data, state))
    checkpoints.save(tmp_path, state)
    again = _start(chosen, data)
    checkpoints.load(tmp_path, again)
    assert again.diverged
    assert again.finished
    assert (checkpoints.load_best(tmp_path) is None) == (state.best is None)


def test_a_save_that_is_cut_off_leaves_the_epoch_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = config("ann", lr=0.01)
    data = trial_data(chosen)
    state = _start(chosen, data)
    train_epoch(state, data)
    checkpoints.save(tmp_path, state)
    before = _everything(state)
    train_epoch(state, data)

    def killed(path: Path, text: str) -> None:
        raise OSError("killed")

    monkeypatch.setattr(checkpoints, "write_text", killed)
    with pytest.raises(OSError, match="killed"):
        checkpoints.save(tmp_path, state)
    again = _start(chosen, data)
    checkpoints.load(tmp_path, again)
    _assert_equal(_everything(again), before)


def test_without_the_optimizer_the_best_epoch_is_still_there(tmp_path: Path) -> None:
    chosen = config("ann")
    data = trial_data(chosen)
    state = _start(chosen, data)
    train_epoch(state, data)
    checkpoints.save(tmp_path, state)
    checkpoints.drop_optimizer(tmp_path)
    best = checkpoints.load_best(tmp_path)
    assert best is not None
    assert best.epoch == 1


@pytest.mark.parametrize(
    "damage", [None, "state.json", "optimizer-1.safetensors", "best-1.safetensors"]
)
def test_a_checkpoint_that_is_missing_or_damaged_is_told(
    tmp_path: Path, damage: str | None
) -> None:
    chosen = config("ann")
    data = trial_data(chosen)
    state = _start(chosen, data)
    if damage is not None:
        train_epoch(state, data)
        checkpoints.save(tmp_path, state)
        path = tmp_path / damage
        path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ResultsError, match="run the trial again"):
        checkpoints.load(tmp_path, _start(chosen, data))
