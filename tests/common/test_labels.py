"""Metrics, durations and moments as people say them."""

import pytest

from tune_bio.common.labels import format_duration, format_utc, metric_name, short_name
from tune_bio.space.trial_config import METRIC_MODES


@pytest.mark.parametrize(
    ("metric", "alone", "whole"),
    [
        ("val_auroc", "AUROC", "validation AUROC"),
        ("val_balanced_accuracy", "balanced accuracy", "validation balanced accuracy"),
        ("auprc", "AUPRC", "AUPRC"),
        ("val_loss", "loss", "validation loss"),
    ],
)
def test_a_metric_is_named_with_and_without_its_split(metric: str, alone: str, whole: str) -> None:
    assert (short_name(metric), metric_name(metric)) == (alone, whole)


def test_no_metric_of_a_search_is_told_as_it_is_typed() -> None:
    for metric in METRIC_MODES:
        assert metric_name(metric).startswith("validation ")
        assert "_" not in metric_name(metric)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "0 s"), (89, "89 s"), (91, "2 min"), (5340, "89 min"), (7500, "2 h 5 min")],
)
def test_a_duration_is_told_in_the_unit_that_fits(seconds: float, told: str) -> None:
    assert format_duration(seconds) == told


def test_a_moment_is_told_in_universal_time() -> None:
    assert format_utc("2026-01-02T03:04:05+00:00") == "2026-01-02 03:04 UTC"
    assert format_utc("2026-01-02T03:04:05+02:00") == "2026-01-02 01:04 UTC"
