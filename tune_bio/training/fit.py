"""Training loop: `fit` yields one result per epoch. It uses neither Ray nor files."""

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

# Pixels per evaluation batch. On a CPU, 64 images of 64 px: layer outputs then stay in the
# processor's cache. A GPU needs many images at once.
EVALUATION_PIXELS = {"cpu": 2**18, "cuda": 2**22}


@dataclass(frozen=True)
class EpochResult:
    """One epoch of a trial's curve.

    `train_loss` and `train_accuracy` are running means in training mode. Both `train_loss` and
    `val["loss"]` are unweighted negative log-likelihoods, so that they can be compared. `val` holds
    the validation metrics; it is empty if training diverged.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val: dict[str, float]
    lr: float
    seconds: float
    images_per_second: float

    def row(self) -> dict[str, Any]:
        """Return the result as a row of epochs.parquet."""
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
    """Train a configuration, one epoch per step, from the beginning or from `start`.

    Args:
        config: the configuration to train; all randomness comes from `config.seed`.
        data: training and validation images.
        start: state to continue from; it is advanced in place and can be saved between epochs.
        metric: the validation column that decides which epoch is the best.
        backbone: pretrained weights, if `config.weights` is not "none".
        device: the device to train on.
        on_batch: called after every batch, to signal progress.
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
        train_log_probs = run_epoch(state, data.train, batches, on_batch, training=True)
    training_seconds = time.perf_counter() - started
    order = torch.cat(batches).numpy()
    train_loss, train_accuracy = _loss_and_accuracy(train_log_probs, data.train.labels[order])

    val_log_probs = log_probabilities(state, data.val, on_batch)
    state.diverged = not (np.isfinite(train_log_probs).all() and np.isfinite(val_log_probs).all())
    state.advance()
    val: dict[str, float] = {}
    if not state.diverged:
        val = compute_metrics(data.val.labels, np.exp(val_log_probs), data.positive)
        # From the logarithms, like train_loss: the probabilities of very wrong outputs are 0.
        val["loss"] = _loss_and_accuracy(val_log_probs, data.val.labels)[0]
        state.consider(val[state.metric.removeprefix("val_")], np.exp(val_log_probs))
    return EpochResult(
        epoch=epoch,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        val=val,
        lr=lr,
        seconds=time.perf_counter() - started,
        images_per_second=len(data.train) / training_seconds,
    )


def run_epoch(
    state: TrainingState,
    split: PreparedSplit,
    batches: Sequence[torch.Tensor],
    on_batch: Callable[[], None],
    *,
    training: bool,
) -> npt.NDArray[np.float64]:
    """Run one pass over `batches` of positions; return log-probabilities (n, classes) in order.

    The same function trains and evaluates, so that the two stay consistent. It runs the whole
    network on images, or the part after the cut on features.
    """
    cut = state.features_from
    source = as_source(split.pixels if cut is None else _features(split))
    labels = torch.from_numpy(np.array(split.labels))
    draws = generator(state.config.seed, "augment", state.epoch + 1)
    to_log_probs = log_probability_function(state.config)
    state.model.train(training)
    log_probs = _RowBuffer(sum(map(len, batches)))
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
        log_probs.add(to_log_probs(logits.detach()))
        on_batch()
    result: npt.NDArray[np.float64] = log_probs.rows.cpu().numpy()
    return result


class _RowBuffer:
    """The rows of all batches in one tensor, which is allocated with the first batch.

    Keeping one small tensor per batch would fragment the memory that its large tensors free, so
    that the next batch takes new memory: evaluating 1 GiB of images took another 1 GiB.
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
    """Return the training accuracy in evaluation mode, with the weights of the best epoch."""
    state.with_best_weights()
    log_probs = log_probabilities(state, data.train, on_batch)
    state.with_last_weights()
    return _loss_and_accuracy(log_probs, data.train.labels)[1]


def predict(
    model: Classifier, transform: Transform, config: TrialConfig, pixels: Pixels
) -> npt.NDArray[np.float64]:
    """Predict class probabilities, (n, classes), for resized pixels (n, S, S, C)."""
    to_log_probs = log_probability_function(config)
    model.eval()
    log_probs = _RowBuffer(len(pixels))
    for batch in _evaluation_batches(len(pixels), config.image_size):
        with torch.inference_mode():
            images = transform.normalize(as_source(pixels)[batch])
            log_probs.add(to_log_probs(model(images)))
    probabilities: npt.NDArray[np.float64] = log_probs.rows.exp().numpy()
    return probabilities


def evaluation_batch(size: int, device: str = "cpu") -> int:
    """Return the number of images of `size` px in an evaluation batch."""
    return max(16, EVALUATION_PIXELS[device] // size**2)


def log_probabilities(
    state: TrainingState, split: PreparedSplit, on_batch: Callable[[], None] = lambda: None
) -> npt.NDArray[np.float64]:
    """Compute log-probabilities, (n, classes), of a split with the current weights."""
    batches = _evaluation_batches(len(split), state.config.image_size, state.device.type)
    return run_epoch(state, split, batches, on_batch, training=False)


def _training_batches(config: TrialConfig, n: int, epoch: int) -> list[torch.Tensor]:
    order = torch.randperm(n, generator=generator(config.seed, "shuffle", epoch))
    batches = list(order.split(config.batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        # BatchNorm cannot train on one image; a single leftover joins the batch before it.
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _logits(model: Classifier, cut: FeatureCut | None, rows: torch.Tensor) -> torch.Tensor:
    """Compute logits from images, or from features, which may be stored in half precision."""
    logits: torch.Tensor = model(rows) if cut is None else after_cut(model, cut, rows.float())
    return logits


def _features(split: PreparedSplit) -> Features | RowView[Features]:
    assert split.features is not None
    return split.features


def _evaluation_batches(n: int, size: int, device: str = "cpu") -> Sequence[torch.Tensor]:
    batches: Sequence[torch.Tensor] = torch.arange(n).split(evaluation_batch(size, device))
    return batches


def _loss_and_accuracy(
    log_probs: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
) -> tuple[float, float]:
    loss = -float(log_probs[np.arange(len(labels)), labels].mean())
    return loss, float((log_probs.argmax(axis=1) == labels).mean())
