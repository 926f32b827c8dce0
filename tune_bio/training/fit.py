"""Training: `fit` yields one result an epoch. It knows no Ray and no files."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tune_bio.common.seeding import generator, global_seed
from tune_bio.datasets.feature_arrays import FeatureCut, Features
from tune_bio.datasets.pixels import Pixels
from tune_bio.datasets.row_view import RowView
from tune_bio.datasets.transforms.transform import Transform
from tune_bio.datasets.trial_data import PreparedSplit, TrialData
from tune_bio.models.classifier import Classifier
from tune_bio.models.feature_cut import after_cut
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.devices import as_source, gather, precision
from tune_bio.training.losses import log_probability_function
from tune_bio.training.metrics import compute_metrics
from tune_bio.training.state import CPU, Best, Tensors, TrainingState

__all__ = ["Best", "EpochResult", "Tensors", "TrainingState", "fit", "predict", "train_epoch"]

# Pixels in one evaluation batch. On a CPU, 64 images of 64 px: what a layer gives then stays in
# the processor's cache. A GPU wants many at once.
EVALUATION_PIXELS = {"cpu": 2**18, "cuda": 2**22}


@dataclass(frozen=True)
class EpochResult:
    """One epoch of a trial's curve.

    `train_loss` and `train_accuracy` are running means in training mode; `train_loss` is, like
    `val["loss"]`, the unweighted negative log-likelihood, so that the two can be compared.
    `val` holds the validation metrics and is empty where training diverged.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val: dict[str, float]
    lr: float
    seconds: float
    images_per_second: float

    def row(self) -> dict[str, Any]:
        """As a row of epochs.parquet."""
        return {
            "epoch": self.epoch,
            "train_loss": self.train_loss,
            "train_accuracy": self.train_accuracy,
            **{f"val_{name}": value for name, value in self.val.items()},
            "lr": self.lr,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
        }


def fit(
    config: TrialConfig,
    data: TrialData,
    start: TrainingState | None = None,
    *,
    metric: str = "val_auroc",
    backbone: Tensors | None = None,
    device: torch.device = CPU,
    on_batch: Callable[[], None] = lambda: None,
) -> Iterator[EpochResult]:
    """Train a configuration, one epoch a step, from the beginning or from `start`.

    Args:
        config: what to train; all of its randomness comes from `config.seed`.
        data: training and validation images.
        start: continue from here; it is advanced in place, and can be saved between two epochs.
        metric: a validation column, on which the best epoch is kept.
        backbone: pretrained weights, where `config.weights` wants them.
        device: where to train.
        on_batch: called after every batch, as a sign of life.
    """
    state = start or TrainingState(config, data, metric=metric, backbone=backbone, device=device)
    while not state.finished:
        yield train_epoch(state, data, on_batch)


def train_epoch(
    state: TrainingState, data: TrialData, on_batch: Callable[[], None] = lambda: None
) -> EpochResult:
    """Train one epoch, score it on validation, and advance the state."""
    started = time.perf_counter()
    epoch, config = state.epoch + 1, state.config
    lr = state.set_rate()
    batches = _training_batches(config, len(data.train), epoch)
    with global_seed(config.seed, "dropout", epoch):
        train_logs = run_epoch(state, data.train, batches, on_batch, training=True)
    trained = time.perf_counter() - started
    order = torch.cat(batches).numpy()
    train_loss, train_accuracy = _loss_and_accuracy(train_logs, data.train.labels[order])

    val_logs = log_probabilities(state, data.val, on_batch)
    state.diverged = not (np.isfinite(train_logs).all() and np.isfinite(val_logs).all())
    state.advance()
    val: dict[str, float] = {}
    if not state.diverged:
        val = compute_metrics(data.val.labels, np.exp(val_logs), data.positive)
        # From the logarithms, as train_loss is: exponentials of very wrong outputs are 0.
        val["loss"] = _loss_and_accuracy(val_logs, data.val.labels)[0]
        state.consider(val[state.metric.removeprefix("val_")], np.exp(val_logs))
    return EpochResult(
        epoch=epoch,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        val=val,
        lr=lr,
        seconds=time.perf_counter() - started,
        images_per_second=len(data.train) / trained,
    )


def run_epoch(
    state: TrainingState,
    split: PreparedSplit,
    batches: Sequence[torch.Tensor],
    on_batch: Callable[[], None],
    *,
    training: bool,
) -> npt.NDArray[np.float64]:
    """One pass over `batches` of positions: the log-probabilities, (n, classes), in their order.

    The same function trains and evaluates, so that the two cannot drift apart; and it runs the
    whole network on images, or what trains of it on features.
    """
    cut = state.features_from
    source = as_source(split.pixels if cut is None else _features(split))
    labels = torch.from_numpy(np.array(split.labels))
    draws = generator(state.config.seed, "augment", state.epoch + 1)
    to_logs = log_probability_function(state.config)
    state.model.train(training)
    logs = _Collected(sum(map(len, batches)))
    for number, batch in enumerate(batches):
        rows = gather(source, batch, state.device)
        if cut is None:
            rows = state.transform.scale(rows)
            rows = state.transform.standardize(state.augment(rows, draws) if training else rows)
        with precision(state.device, training=training), torch.inference_mode(not training):
            logits = _logits(state.model, cut, rows).float()
        if training:
            state.set_rate(number, len(batches))
            state.optimizer.zero_grad(set_to_none=True)
            state.loss(logits, gather(labels, batch, state.device)).backward()
            state.optimizer.step()
        logs.add(to_logs(logits.detach()))
        on_batch()
    result: npt.NDArray[np.float64] = logs.rows.cpu().numpy()
    return result


class _Collected:
    """The rows of all batches in one tensor, which is made with the first of them.

    A small tensor kept of each batch would split the space that its large ones leave, so that the
    next batch takes new memory: evaluating a gibibyte of images took as much again.
    """

    def __init__(self, count: int) -> None:
        self._count, self._filled = count, 0
        self.rows = torch.empty(0)

    def add(self, batch: torch.Tensor) -> None:
        if self._filled == 0:
            self.rows = batch.new_empty((self._count, *batch.shape[1:]))
        self.rows[self._filled : self._filled + len(batch)] = batch
        self._filled += len(batch)


def train_accuracy_at_best(
    state: TrainingState, data: TrialData, on_batch: Callable[[], None] = lambda: None
) -> float:
    """Accuracy on the training split in evaluation mode, with the best epoch's weights."""
    state.with_best_weights()
    logs = log_probabilities(state, data.train, on_batch)
    state.with_last_weights()
    return _loss_and_accuracy(logs, data.train.labels)[1]


def predict(
    model: Classifier, transform: Transform, config: TrialConfig, pixels: Pixels
) -> npt.NDArray[np.float64]:
    """Class probabilities, (n, classes), of resized pixels (n, S, S, C)."""
    to_logs = log_probability_function(config)
    model.eval()
    logs = _Collected(len(pixels))
    for batch in _evaluation_batches(len(pixels), config.image_size):
        with torch.inference_mode():
            images = transform.normalize(as_source(pixels)[batch])
            logs.add(to_logs(model(images)))
    probabilities: npt.NDArray[np.float64] = logs.rows.exp().numpy()
    return probabilities


def evaluation_batch(size: int, device: str = "cpu") -> int:
    """How many images of `size` px are evaluated at once."""
    return max(16, EVALUATION_PIXELS[device] // size**2)


def log_probabilities(
    state: TrainingState, split: PreparedSplit, on_batch: Callable[[], None] = lambda: None
) -> npt.NDArray[np.float64]:
    """Of a split's images, (n, classes), in evaluation mode, by the weights of this moment."""
    batches = _evaluation_batches(len(split), state.config.image_size, state.device.type)
    return run_epoch(state, split, batches, on_batch, training=False)


def _training_batches(config: TrialConfig, n: int, epoch: int) -> list[torch.Tensor]:
    order = torch.randperm(n, generator=generator(config.seed, "shuffle", epoch))
    batches = list(order.split(config.batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        # BatchNorm cannot train on one image; the straggler joins the batch before it.
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _logits(model: Classifier, cut: FeatureCut | None, rows: torch.Tensor) -> torch.Tensor:
    """Of images, or of features, which may be kept in half precision."""
    logits: torch.Tensor = model(rows) if cut is None else after_cut(model, cut, rows.float())
    return logits


def _features(split: PreparedSplit) -> Features | RowView[Features]:
    assert split.features is not None
    return split.features


def _evaluation_batches(n: int, size: int, device: str = "cpu") -> Sequence[torch.Tensor]:
    batches: Sequence[torch.Tensor] = torch.arange(n).split(evaluation_batch(size, device))
    return batches


def _loss_and_accuracy(
    logs: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
) -> tuple[float, float]:
    loss = -float(logs[np.arange(len(labels)), labels].mean())
    return loss, float((logs.argmax(axis=1) == labels).mean())
