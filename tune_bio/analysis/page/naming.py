"""Metrics and durations, as people say them."""

NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "macro_f1": "macro F1",
    "brier": "Brier score",
    "ppv": "PPV",
    "npv": "NPV",
    "ece": "ECE",
}


def metric_name(metric: str) -> str:
    """A metric for people: "validation AUROC" of val_auroc, "AUROC" of auroc."""
    name = metric.removeprefix("val_")
    told = NAMES.get(name, name.replace("_", " "))
    return told if name == metric else f"validation {told}"


def duration(seconds: float) -> str:
    """In seconds, minutes or hours."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
