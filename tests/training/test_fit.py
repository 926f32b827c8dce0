"""Training: reproducible, with correct scores, and ending when it should."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from tests.data_factory import config, foreign_backbone, same, timeless, trial_data
from tune_bio.datasets.trial_data import PreparedSplit, TrialData
from tune_bio.errors import ConfigError
from tune_bio.records.schema import EPOCH_COLUMNS
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.fit import fit, predict, run_epoch, train_accuracy_at_best, train_epoch
from tune_bio.training.state import TrainingState

STILL = 1e-30  # a learning rate at which no float32 weight moves
VARIANTS: list[dict[str, Any]] = [
    {"model": "cnn", "dropout": 0.5},
    {"model": "ann", "dropout": 0.5, "optimizer": "sgd", "weight_decay": 0.01},
    {"model": "cnn_gap", "loss": "bce", "class_weights": "balanced", "label_smoothing": 0.1},
    {"model": "squeezenet1_0", "weights": "imagenet", "freeze": "lp_ft", "dropout": 0.3},
    {"model": "resnet18", "weights": "imagenet", "freeze": "gradual", "unfreeze_every": 1},
    {"model": "mobilenet_v3_small", "weights": "imagenet", "freeze": "backbone_bn"},
    {"model": "cnn_gap", "lr_schedule": "onecycle", "augment": "affine"},
    {"model": "ann", "lr_schedule": "onecycle", "optimizer": "sgd", "augment": "trivial"},
]


def _start(chosen: TrialConfig, data: TrialData, **options: Any) -> TrainingState:
    backbone = None if chosen.weights == "none" else foreign_backbone(chosen)
    return TrainingState(chosen, data, backbone=backbone, **options)


@pytest.mark.parametrize("params", VARIANTS, ids=lambda params: "-".join(map(str, params.values())))
def test_the_same_configuration_gives_the_same_bits(params: dict[str, Any]) -> None:
    chosen = config(**params)
    data = trial_data(chosen)
    runs = []
    for pollution in (1, 2):
        torch.manual_seed(pollution)
        state = _start(chosen, data)
        results = []
        for result in fit(chosen, data, state):
            torch.rand(pollution)
            results.append(result)
        runs.append((timeless(results), state.trained_weights()))
    assert runs[0][0] == runs[1][0]
    assert same(runs[0][1], runs[1][1])


def test_another_seed_trains_another_model() -> None:
    data = trial_data(config())
    first, second = (list(fit(config(seed=seed), data)) for seed in (0, 1))
    assert timeless(first) != timeless(second)


def test_every_epoch_draws_a_new_order_and_dropout() -> None:
    chosen = config("cnn", lr=STILL, optimizer="sgd", dropout=0.5, epochs=3)
    losses = [result.train_loss for result in fit(chosen, trial_data(chosen))]
    assert len(set(losses)) == 3


@pytest.mark.parametrize("loss", ["cross_entropy", "bce"])
@pytest.mark.parametrize("classes", [2, 3])
def test_validation_scores_are_those_of_the_current_model(loss: str, classes: int) -> None:
    chosen = config("cnn", loss=loss, class_weights="balanced", label_smoothing=0.2)
    data = trial_data(chosen, classes=classes)
    state = TrainingState(chosen, data)
    for result in fit(chosen, data, state):
        p = predict(state.model, state.transform, chosen, data.val.pixels)
        labels = data.val.labels
        assert result.val["loss"] == pytest.approx(log_loss(labels, p))
        assert result.val["accuracy"] == pytest.approx(np.mean(p.argmax(axis=1) == labels))
        if classes == 2:
            assert result.val["auroc"] == pytest.approx(roc_auc_score(labels, p[:, 1]))
        if state.best is not None and state.best.epoch == result.epoch:
            np.testing.assert_allclose(state.best.probabilities, p, rtol=1e-6)


@pytest.mark.parametrize("params", [{}, {"class_weights": "balanced", "label_smoothing": 0.3}])
@pytest.mark.parametrize("loss", ["cross_entropy", "bce"])
def test_training_loss_is_the_plain_likelihood_for_every_objective(
    loss: str, params: dict[str, Any]
) -> None:
    chosen = config("cnn", loss=loss, lr=STILL, optimizer="sgd", dropout=0.0, epochs=1, **params)
    data = trial_data(chosen, train=23)
    state = TrainingState(chosen, data)
    result = train_epoch(state, data)
    p = predict(state.model, state.transform, chosen, data.train.pixels)
    assert result.train_loss == pytest.approx(log_loss(data.train.labels, p))
    assert result.train_accuracy == pytest.approx(np.mean(p.argmax(axis=1) == data.train.labels))


def test_a_model_learns_an_easy_task() -> None:
    chosen = config("cnn", epochs=8, lr=0.005, dropout=0.0, loss="bce")
    data = trial_data(chosen, train=96, val=48)
    results = list(fit(chosen, data))
    assert results[-1].val["auroc"] > 0.95
    assert results[-1].train_loss < results[0].train_loss


def test_the_positive_class_decides_what_auroc_means() -> None:
    chosen = config("cnn")
    data = trial_data(chosen)
    other = replace(data, positive=0)
    first, second = (list(fit(chosen, d))[-1].val for d in (data, other))
    assert first["auroc"] == pytest.approx(second["auroc"])  # p and 1 - p give the same ranking
    assert first["loss"] == second["loss"]


@pytest.mark.parametrize("n", [1, 7, 8, 9, 16, 17])
@pytest.mark.parametrize("batch_size", [2, 8])
def test_every_image_is_used_once_per_epoch_and_never_in_a_batch_of_one(
    n: int, batch_size: int
) -> None:
    chosen = config("cnn", batch_size=batch_size, epochs=1)
    data = trial_data(chosen, train=18, val=4)
    pixels = np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 1), np.uint8)
    data = replace(data, train=PreparedSplit(pixels, (np.arange(n) % 2).astype(np.int64)))
    state = TrainingState(chosen, data)
    batches: list[list[float]] = []

    def record(module: Any, inputs: tuple[torch.Tensor]) -> None:
        if module.training:
            batches.append(((inputs[0][:, 0, 0, 0] + 1) * 127.5).round().tolist())

    state.model.register_forward_pre_hook(record)
    train_epoch(state, data)
    assert sorted(value for batch in batches for value in batch) == list(range(n))
    assert n == 1 or min(map(len, batches)) > 1


@pytest.mark.parametrize("model", ["ann", "resnet18"])
def test_batch_norm_handles_a_leftover_image_and_a_batch_size_of_one(model: str) -> None:
    data = trial_data(config(model), train=9, val=4)
    assert train_epoch(TrainingState(config(model), data), data).val
    try:
        chosen = config(model, batch_size=1)
        result = next(fit(chosen, data))
    except ConfigError:
        return
    assert np.isfinite(result.train_loss)


# PyTorch warns that such a buffer could be written to; nothing in the package does so.
@pytest.mark.filterwarnings("ignore:The given buffer is not writable:UserWarning")
def test_read_only_images_are_used_without_a_copy() -> None:
    chosen = config("cnn")
    data = trial_data(chosen)
    expected = timeless(list(fit(chosen, data)))
    for split in (data.train, data.val):
        split.pixels.flags.writeable = False
        split.labels.flags.writeable = False
    assert timeless(list(fit(chosen, data))) == expected


def test_exploding_training_ends_as_diverged_without_validation_scores() -> None:
    chosen = config("cnn", optimizer="sgd", lr=100.0, dropout=0.0, epochs=20)
    data = trial_data(chosen)
    state = TrainingState(chosen, data)
    results = list(fit(chosen, data, state))
    assert state.diverged
    assert state.finished
    assert len(results) < 20
    assert results[-1].val == {}
    assert not [name for name in results[-1].row() if name.startswith("val_")]
    assert all(result.val for result in results[:-1])
    assert state.best is None or state.best.epoch < results[-1].epoch


def test_a_row_has_the_columns_of_the_epochs_table() -> None:
    chosen = config("cnn")
    row = next(fit(chosen, trial_data(chosen))).row()
    assert list(row) == [name for name, _ in EPOCH_COLUMNS if name != "trial_id"]
    assert row["seconds"] > 0
    assert row["images_per_second"] > 0


@pytest.mark.parametrize(("patience", "length"), [(0, 6), (1, 2), (3, 4), (9, 6)])
def test_a_trial_ends_after_its_patience_without_a_better_epoch(patience: int, length: int) -> None:
    # No weight changes, so every epoch equals the first, which stays the best.
    chosen = config("cnn", lr=STILL, optimizer="sgd", epochs=6, patience=patience)
    data = trial_data(chosen)
    state = TrainingState(chosen, data)
    assert len(list(fit(chosen, data, state))) == length
    assert state.best is not None
    assert state.best.epoch == 1
    assert list(fit(chosen, data, state)) == []


@pytest.mark.parametrize(
    "metric", ["val_auroc", "val_accuracy", "val_balanced_accuracy", "val_macro_f1", "val_loss"]
)
def test_the_first_epoch_with_the_best_metric_is_kept(metric: str) -> None:
    chosen = config("cnn", epochs=5, lr=0.01)
    data = trial_data(chosen)
    state = TrainingState(chosen, data, metric=metric)
    weights, values = [], []
    for result in fit(chosen, data, state):
        weights.append(state.trained_weights())
        values.append(result.row()[metric])
    best = min(values) if metric == "val_loss" else max(values)
    assert state.best is not None
    assert state.best.epoch == values.index(best) + 1
    assert state.best.value == best
    assert same(state.best.weights, weights[state.best.epoch - 1])


@pytest.mark.parametrize(
    "params", VARIANTS[1:], ids=lambda params: "-".join(map(str, params.values()))
)
def test_scoring_the_best_epoch_does_not_change_the_training(params: dict[str, Any]) -> None:
    chosen = config(**params, epochs=4)
    data = trial_data(chosen)
    plain, scored = _start(chosen, data), _start(chosen, data)
    expected = timeless(list(fit(chosen, data, plain)))
    results = []
    for result in fit(chosen, data, scored):
        before = scored.trained_weights()
        accuracy = train_accuracy_at_best(scored, data)
        assert same(scored.trained_weights(), before)
        results.append(result)
    assert timeless(results) == expected
    p = predict(scored.with_best_weights(), scored.transform, chosen, data.train.pixels)
    assert accuracy == pytest.approx(np.mean(p.argmax(axis=1) == data.train.labels))


def test_evaluation_changes_nothing() -> None:
    chosen = config("ann", dropout=0.5)
    data = trial_data(chosen)
    state = TrainingState(chosen, data)
    before = state.trained_weights()
    batches = torch.arange(len(data.val)).split(5)
    first, second = (
        run_epoch(state, data.val, batches, lambda: None, training=False) for _ in range(2)
    )
    assert np.array_equal(first, second)
    assert same(state.trained_weights(), before)


def test_every_batch_signals_progress() -> None:
    chosen = config("cnn", epochs=2)
    signals: list[int] = []
    list(fit(chosen, trial_data(chosen, train=24, val=12), on_batch=lambda: signals.append(1)))
    assert len(signals) == 2 * (3 + 1)


@pytest.mark.parametrize("superfluous", [True, False])
def test_pretrained_weights_are_required_exactly_if_they_are_named(superfluous: bool) -> None:
    chosen = config("squeezenet1_0", weights="none" if superfluous else "imagenet")
    backbone = foreign_backbone(chosen) if superfluous else None
    with pytest.raises(ValueError, match="does not fit"):
        TrainingState(chosen, trial_data(chosen), backbone=backbone)


@pytest.mark.parametrize("name", ["flip", "jitter", "affine", "trivial"])
def test_every_epoch_augments_the_training_images_anew_but_not_validation(name: str) -> None:
    chosen = config("cnn_gap", augment=name, lr=STILL, optimizer="sgd", dropout=0.0, epochs=3)
    plain = chosen.model_copy(update={"augment": "none"})
    data = trial_data(chosen)
    augmented, unchanged = (list(fit(c, data)) for c in (chosen, plain))
    assert len({round(result.train_loss, 6) for result in augmented}) == 3
    assert len({round(result.train_loss, 6) for result in unchanged}) == 1
    assert [r.val for r in augmented] == [r.val for r in unchanged]


def test_onecycle_changes_the_rate_within_an_epoch_and_ends_low() -> None:
    chosen = config("cnn", lr_schedule="onecycle", epochs=2, lr=0.1)
    state = TrainingState(chosen, trial_data(chosen))
    rates = [state.set_rate(batch, 3) for batch in range(3)]
    assert rates[0] == pytest.approx(0.1 / 25)
    assert len(set(rates)) == 3
    for _ in fit(chosen, trial_data(chosen), state):
        pass
    assert state.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 / 25 / 1e4)
