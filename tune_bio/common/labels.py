"""Readable labels for metrics, counts, durations and timestamps."""

from datetime import UTC, datetime

NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "macro_f1": "macro F1",
    "brier": "Brier score",
    "ppv": "PPV",
    "npv": "NPV",
    "ece": "ECE",
}


def without_split(metric: str) -> str:
    """Return the name of a metric without its split: "auroc" for val_auroc."""
    return metric.removeprefix("val_")


def short_name(metric: str) -> str:
    """Return the label of a metric without its split: "AUROC" for val_auroc."""
    return NAMES.get(without_split(metric), without_split(metric).replace("_", " "))


def metric_name(metric: str) -> str:
    """Return the label of a metric with its split: "validation AUROC" for val_auroc."""
    return (
        short_name(metric)
        if without_split(metric) == metric
        else f"validation {short_name(metric)}"
    )


def pluralize(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: "1 seed", "3 seeds"; `plural` is for irregular nouns."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def format_duration(seconds: float) -> str:
    """Format seconds as "45 s", "3 min" or "2 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def format_utc(timestamp: str) -> str:
    """Format an ISO 8601 timestamp as "2026-01-02 03:04 UTC"."""
    return f"{datetime.fromisoformat(timestamp).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
