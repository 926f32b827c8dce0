"""Predictions are written as a table and read back."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data_factory import few_examples
from tune_bio.records.predictions import SplitImages, prediction_table, stored_predictions


def random_split(
    n: int, trials: list[str], classes: int, seed: int
) -> tuple[SplitImages, dict[str, object]]:
    rng = np.random.default_rng(seed)
    described = SplitImages(
        np.array([f"image_{k}" for k in range(n)]),
        np.array([f"patient_{k // 2}" for k in range(n)]),
        rng.integers(0, classes, n),
    )
    return described, {t: rng.random((n, classes)).astype(np.float32) for t in trials}


@given(
    n=st.integers(1, 7),
    trials=st.lists(st.text("t0r", min_size=1, max_size=3), min_size=1, max_size=4, unique=True),
    classes=st.integers(2, 4),
    seed=st.integers(0, 99),
)
@few_examples
def test_a_table_returns_the_predictions_that_it_was_made_from(
    n: int, trials: list[str], classes: int, seed: int
) -> None:
    names = tuple(f"class {k}" for k in range(classes))
    splits = {
        "val": random_split(n, trials, classes, seed),
        "test": random_split(n + 1, trials[:1], classes, seed),
    }
    tables = [
        prediction_table(name, described, predictions, names).to_pandas()
        for name, (described, predictions) in splits.items()
    ]
    stored = list(stored_predictions(pd.concat(tables), names))
    expected = [(trial, "val") for trial in sorted(trials)] + [(trials[0], "test")]
    assert [(trial, split) for trial, split, _, _ in stored] == expected
    for trial, split, described, p in stored:
        original, probabilities = splits[split]
        for column in ("images", "patients", "labels"):
            assert getattr(described, column).tolist() == getattr(original, column).tolist()
        assert p.dtype == np.float32
        np.testing.assert_array_equal(p, probabilities[trial])


@pytest.mark.parametrize("n", [0, 3])
def test_without_trials_the_table_has_its_columns_and_no_rows(n: int) -> None:
    described, _ = random_split(n, [], 2, seed=0)
    table = prediction_table("val", described, {}, ("well", "ill"))
    assert table.column_names == [
        "trial", "split", "image", "patient", "label", "p_well", "p_ill",
    ]  # fmt: skip
    assert len(table) == 0
    assert list(stored_predictions(table.to_pandas(), ("well", "ill"))) == []
