"""Readable labels for metrics, durations and timestamps."""

import pytest

from tune_bio.common.labels import format_duration, format_utc, metric_name, short_name
from tune_bio.space.trial_config import METRIC_MODES


@pytest.mark.parametrize(
    ("metric", "short", "full"),
    [
        ("val_auroc", "AUROC", "validation AUROC"),
        ("val_balanced_accuracy", "balanced accuracy", "validation balanced accuracy"),
        ("auprc", "AUPRC", "AUPRC"),
        ("val_loss", "loss", "validation loss"),
    ],
)
def test_a_metric_is_named_with_and_without_its_split(metric: str, short: str, full: str) -> None:
    assert (short_name(metric), metric_name(metric)) == (short, full)


def test_every_metric_of_a_search_has_a_readable_name() -> None:
    for metric in METRIC_MODES:
        assert metric_name(metric).startswith("validation ")
        assert "_" not in metric_name(metric)


@pytest.mark.parametrize(
    ("seconds", "label"),
    [(0.4, "0 s"), (89, "89 s"), (91, "2 min"), (5340, "89 min"), (7500, "2 h 5 min")],
)
def test_a_duration_is_formatted_in_a_suitable_unit(seconds: float, label: str) -> None:
    assert format_duration(seconds) == label


def test_a_timestamp_is_formatted_in_utc() -> None:
    assert format_utc("2026-01-02T03:04:05+00:00") == "2026-01-02 03:04 UTC"
    assert format_utc("2026-01-02T03:04:05+02:00") == "2026-01-02 01:04 UTC"
