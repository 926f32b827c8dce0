"""The synthetic default: its counts, its patients, its reproducibility. No pixel is pinned."""

import functools
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tune_bio.datasets.phantom import MISLABELLED_SHARE, PATIENTS, PhantomSplit, make_phantom


@functools.cache
def phantom(seed: int = 0) -> dict[str, PhantomSplit]:
    return make_phantom(seed)


def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_bio.datasets.phantom.PATIENTS", {"train": 9, "val": 6, "test": 6})


def test_the_splits_hold_about_200_150_and_300_patients() -> None:
    counts = {name: len(np.unique(split.patients)) for name, split in phantom().items()}
    assert counts == PATIENTS == {"train": 200, "val": 150, "test": 300}


@pytest.mark.parametrize("name", PATIENTS)
def test_a_split_holds_grey_images_of_patients_with_one_to_four_each(name: str) -> None:
    split = phantom()[name]
    n = len(split.labels)
    assert split.pixels.shape == (n, 64, 64)
    assert split.pixels.dtype == np.uint8
    assert split.labels.dtype == np.int64
    assert len(set(split.names)) == n
    _, images = np.unique(split.patients, return_counts=True)
    assert set(images) == {1, 2, 3, 4}
    assert split.pixels.std(axis=(1, 2)).min() > 5  # no image is empty
    assert len(np.unique(split.pixels, axis=0)) == n  # and no two are equal


def test_a_patient_has_one_label_and_stands_in_one_split() -> None:
    seen: set[str] = set()
    for split in phantom().values():
        patients = set(split.patients)
        assert not patients & seen
        seen |= patients
        for patient in patients:
            assert len(set(split.labels[split.patients == patient])) == 1


@pytest.mark.parametrize("name", PATIENTS)
def test_a_third_is_positive_but_for_the_mislabelled(name: str) -> None:
    split = phantom()[name]
    _, first = np.unique(split.patients, return_index=True)
    expected = (1 + MISLABELLED_SHARE) / 3  # 2/3 x m wrong ones come in, 1/3 x m go out
    assert split.labels[first].mean() == pytest.approx(expected, abs=0.02)


def test_equal_seeds_draw_equal_bytes_and_other_seeds_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _small(monkeypatch)
    np.random.seed(1)
    first, again, other = make_phantom(3), make_phantom(3), make_phantom(4)
    for name in first:
        for field in ("pixels", "labels", "patients", "names"):
            assert np.array_equal(getattr(first[name], field), getattr(again[name], field))
        assert not np.array_equal(first[name].pixels[:5], other[name].pixels[:5])


@pytest.mark.slow
def test_a_linear_model_on_pixels_finds_a_part_of_the_signal() -> None:
    scores = []
    for seed in range(3):
        parts = phantom(seed)
        images: Any = {name: part.pixels.reshape(-1, 64 * 64) / 255 for name, part in parts.items()}
        linear = LogisticRegression(C=0.01, max_iter=500).fit(
            images["train"], parts["train"].labels
        )
        scores.append(roc_auc_score(parts["test"].labels, linear.decision_function(images["test"])))
    assert 0.60 <= np.mean(scores) <= 0.80
