"""Metrics, durations and moments, as people say them."""

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
    """A metric without the split that it is of."""
    return metric.removeprefix("val_")


def short_name(metric: str) -> str:
    """A metric without its split: "AUROC" of val_auroc."""
    return NAMES.get(without_split(metric), without_split(metric).replace("_", " "))


def metric_name(metric: str) -> str:
    """A metric with its split: "validation AUROC" of val_auroc, "AUROC" of auroc."""
    return (
        short_name(metric)
        if without_split(metric) == metric
        else f"validation {short_name(metric)}"
    )


def pluralize(count: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun: "1 seed", "3 seeds"; `plural` where it is irregular."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def format_duration(seconds: float) -> str:
    """Seconds as "45 s", "3 min" or "2 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def format_utc(when: str) -> str:
    """A moment of ISO 8601 as "2026-01-02 03:04 UTC"."""
    return f"{datetime.fromisoformat(when).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
