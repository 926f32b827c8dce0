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


def bare(metric: str) -> str:
    """A metric without the split that it is of."""
    return metric.removeprefix("val_")


def called(metric: str) -> str:
    """A metric without its split: "AUROC" of val_auroc."""
    return NAMES.get(bare(metric), bare(metric).replace("_", " "))


def metric_name(metric: str) -> str:
    """A metric with its split: "validation AUROC" of val_auroc, "AUROC" of auroc."""
    return called(metric) if bare(metric) == metric else f"validation {called(metric)}"


def counted(number: int, what: str) -> str:
    """ "1 seed", "3 seeds"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds as "45 s", "3 min" or "2 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def moment(when: str) -> str:
    """A moment of ISO 8601 as "2026-01-02 03:04 UTC"."""
    return f"{datetime.fromisoformat(when).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
