"""Another split of the same images is trained on as if it had been copied together."""

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
    """The same split, by copying."""
    both = [np.concatenate([getattr(data.train, n), getattr(data.val, n)]) for n in
            ("pixels", "labels")]  # fmt: skip
    if data.train.features is not None and data.val.features is not None:
        both.append(
            np.concatenate([base_array(data.train.features), base_array(data.val.features)])
        )
    train_split, val_split = (
        PreparedSplit(*(part[rows] for part in both)) for rows in (train, val)
    )
    again = TrialData(train_split, val_split, data.classes, data.positive, data.format, data.cut)
    assert len(again.train) == len(train)
    return again


@pytest.mark.parametrize("params", VARIANTS, ids=lambda params: "-".join(map(str, params.values())))
def test_a_regrouped_split_trains_to_the_bits_of_a_copied_one(params: dict[str, Any]) -> None:
    chosen = config(**params)
    backbone = None if chosen.weights == "none" else foreign_backbone(chosen)
    data = trial_data(chosen)
    if backbone is not None:
        data = featured(chosen, data, backbone)
    rows = np.random.default_rng(0).permutation(len(data.train) + len(data.val))
    train, val = np.sort(rows[:20]), np.sort(rows[20:])
    runs = []
    for given in (resplit_data(data, train, val, "key"), copied(data, train, val), data):
        state = TrainingState(chosen, given, backbone=backbone)
        results = timeless(list(fit(chosen, given, state)))
        accuracy = train_accuracy_at_best(state, given)
        runs.append((results, accuracy, state.trained_weights()))
    regrouped, by_hand, as_it_was = runs
    assert regrouped[:2] == by_hand[:2]
    assert same(regrouped[2], by_hand[2])
    assert regrouped[0] != as_it_was[0]


def test_a_split_stands_in_the_tag_of_what_is_reused() -> None:
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


def test_a_regrouped_split_is_no_array() -> None:
    rows = RowView(np.zeros((2, 3)), np.ones((2, 3)), np.array([0, 3]))
    assert len(rows) == 2
    assert rows.dtype == np.float64
    with pytest.raises(TypeError, match="no array of their own"):
        base_array(rows)
