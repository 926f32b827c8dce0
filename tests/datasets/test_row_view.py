"""Training on a re-split is identical to training on a copy of its rows."""

from typing import Any

import numpy as np
import pytest

from tests.data_factory import config, featured, foreign_backbone, same, timeless, trial_data
from tune_bio.datasets.row_view import RowView, base_array
from tune_bio.datasets.trial_data import PreparedSplit, TrialData, resplit_data
from tune_bio.training.fit import fit, train_accuracy_at_best
from tune_bio.training.state import TrainingState

VARIANTS: list[dict[str, Any]] = [
    {"model": "cnn", "dropout": 0.5, "augment": "flip", "class_weights": "balanced"},
    {"model": "squeezenet1_0", "weights": "imagenet", "freeze": "backbone"},
    {"model": "squeezenet1_0", "weights": "imagenet", "freeze": "lp_ft", "lp_epochs": 1},
]


def copied(data: TrialData, train: Any, val: Any) -> TrialData:
    """Return the same re-split with copied arrays."""
    arrays = [np.concatenate([getattr(data.train, n), getattr(data.val, n)]) for n in
              ("pixels", "labels")]  # fmt: skip
    if data.train.features is not None and data.val.features is not None:
        arrays.append(
            np.concatenate([base_array(data.train.features), base_array(data.val.features)])
        )
    train_split, val_split = (
        PreparedSplit(*(array[rows] for array in arrays)) for rows in (train, val)
    )
    copy = TrialData(train_split, val_split, data.classes, data.positive, data.format, data.cut)
    assert len(copy.train) == len(train)
    return copy


@pytest.mark.parametrize("params", VARIANTS, ids=lambda params: "-".join(map(str, params.values())))
def test_training_on_a_view_equals_training_on_a_copy_bit_for_bit(params: dict[str, Any]) -> None:
    trial_config = config(**params)
    backbone = None if trial_config.weights == "none" else foreign_backbone(trial_config)
    data = trial_data(trial_config)
    if backbone is not None:
        data = featured(trial_config, data, backbone)
    rows = np.random.default_rng(0).permutation(len(data.train) + len(data.val))
    train, val = np.sort(rows[:20]), np.sort(rows[20:])
    runs = []
    for split_data in (resplit_data(data, train, val, "key"), copied(data, train, val), data):
        state = TrainingState(trial_config, split_data, backbone=backbone)
        results = timeless(list(fit(trial_config, split_data, state)))
        accuracy = train_accuracy_at_best(state, split_data)
        runs.append((results, accuracy, state.trained_weights()))
    view, copy, original = runs
    assert view[:2] == copy[:2]
    assert same(view[2], copy[2])
    assert view[0] != original[0]


def test_the_reuse_tag_contains_the_split() -> None:
    data = trial_data(config())
    rows = np.arange(36)
    assert "split" not in data.reuse_tag
    tags = {resplit_data(data, rows[:20], rows[20:], key).reuse_tag for key in ("a", "b")}
    assert {tag.partition("split ")[2] for tag in tags} == {"a", "b"}
    features = np.zeros((24, 3), np.float32), np.zeros((12, 3), np.float32)
    with_features: Any = data.with_features(None, *features, key="k")  # type: ignore[arg-type]
    assert resplit_data(with_features, rows[:20], rows[20:], "a").reuse_tag.endswith(
        "float32 k split a"
    )


def test_a_row_view_is_refused_as_an_array() -> None:
    rows = RowView(np.zeros((2, 3)), np.ones((2, 3)), np.array([0, 3]))
    assert len(rows) == 2
    assert rows.dtype == np.float64
    with pytest.raises(TypeError, match="not an array"):
        base_array(rows)
