"""Metrics against scikit-learn and against their definitions."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss, recall_score, roc_auc_score
from torchmetrics.functional.classification import (
    binary_auroc,
    multiclass_accuracy,
    multiclass_auroc,
    multiclass_f1_score,
)

from tests.data_factory import examples
from tune_bio.training.metrics import METRICS, compute_metrics


@st.composite
def scored(draw: st.DrawFn) -> tuple[Any, Any]:
    """Draw labels in which every class occurs, and coarse probabilities, so that ties occur."""
    classes = draw(st.integers(2, 4))
    n = draw(st.integers(classes, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = rng.permutation(np.arange(n) % classes)
    weights = rng.integers(1, draw(st.sampled_from([3, 10, 10_000])), (n, classes))
    return labels, weights / weights.sum(axis=1, keepdims=True)


@examples
@given(scored(), st.integers(0, 1))
def test_metrics_agree_with_scikit_learn(case: tuple[Any, Any], positive: int) -> None:
    labels, p = case
    scores = compute_metrics(labels, p, positive)
    assert tuple(scores) == METRICS
    predicted = p.argmax(axis=1)
    expected = {
        "loss": log_loss(labels, p, labels=range(p.shape[1])),
        "accuracy": np.mean(predicted == labels),
        "balanced_accuracy": recall_score(labels, predicted, average="macro"),
        "macro_f1": f1_score(labels, predicted, average="macro", zero_division=0),
        "auroc": roc_auc_score(labels == positive, p[:, positive])
        if p.shape[1] == 2
        else roc_auc_score(labels, p, multi_class="ovr", average="macro"),
    }
    assert scores == pytest.approx(expected)


@examples
@given(scored())
def test_auroc_is_the_share_of_correctly_ordered_pairs(case: tuple[Any, Any]) -> None:
    labels, p = case
    shares = []
    for k in range(p.shape[1]):
        difference = p[labels == k, k][:, None] - p[labels != k, k]
        shares.append(np.mean((difference > 0) + 0.5 * (difference == 0)))
    # With two classes, either may be positive: p and 1 - p give the same ranking.
    expected = shares[1] if p.shape[1] == 2 else np.mean(shares)
    assert compute_metrics(labels, p, 1)["auroc"] == pytest.approx(expected)


def test_a_class_that_is_never_predicted_counts_as_zero() -> None:
    labels = np.array([0, 0, 0, 1])
    p = np.tile([0.9, 0.1], (4, 1))
    scores = compute_metrics(labels, p, 1)
    assert scores["accuracy"] == 0.75
    assert scores["balanced_accuracy"] == scores["auroc"] == 0.5
    assert scores["macro_f1"] == pytest.approx((2 * 0.75 / 1.75 + 0) / 2)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_metrics_agree_with_torchmetrics(classes: int) -> None:
    """Compare with torchmetrics, which is independent of scikit-learn."""
    rng = np.random.default_rng(classes)
    labels = np.arange(60) % classes
    probabilities = rng.dirichlet(np.ones(classes), size=60)
    scores = compute_metrics(labels, probabilities, positive=classes - 1)
    p, y = torch.from_numpy(probabilities), torch.from_numpy(labels)
    per_class = {"num_classes": classes, "average": "macro"}
    assert scores["accuracy"] == pytest.approx(
        multiclass_accuracy(p, y, num_classes=classes, average="micro").item()
    )
    assert scores["balanced_accuracy"] == pytest.approx(
        multiclass_accuracy(p, y, **per_class).item()
    )
    assert scores["macro_f1"] == pytest.approx(multiclass_f1_score(p, y, **per_class).item())
    area = binary_auroc(p[:, 1], y) if classes == 2 else multiclass_auroc(p, y, **per_class)
    assert scores["auroc"] == pytest.approx(area.item())
