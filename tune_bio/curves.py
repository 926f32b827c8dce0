"""From a trial's curve to its columns in trials.parquet."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]


def summarize(rows: Sequence[Row], metric: str, mode: str) -> Row:
    """The columns that follow from the epochs of one trial, in order.

    Each `best_` column is its own optimum over the epochs; `best_epoch` is the first with the
    best `metric`. Epochs without a finite value (training diverged) never count as best.
    """
    if not rows:
        return {}
    last = rows[-1]
    loss, loss_epoch = _best(rows, "val_loss", "min")
    return {
        "epochs_run": last["epoch"],
        "best_epoch": _best(rows, metric, mode)[1],
        "best_val_auroc": _best(rows, "val_auroc", "max")[0],
        "best_val_accuracy": _best(rows, "val_accuracy", "max")[0],
        "best_val_loss": loss,
        "best_val_loss_epoch": loss_epoch,
        "best_train_accuracy": _best(rows, "train_accuracy", "max")[0],
        "final_train_loss": last.get("train_loss"),
        "final_train_accuracy": last.get("train_accuracy"),
        "final_val_loss": last.get("val_loss"),
        "final_val_accuracy": last.get("val_accuracy"),
        "seconds": float(sum(row["seconds"] for row in rows)),
        "seconds_per_epoch": float(np.mean([row["seconds"] for row in rows])),
    }


def best_value(rows: Sequence[Row], metric: str, mode: str) -> float | None:
    """The best finite value of `metric`, or None."""
    return _best(rows, metric, mode)[0]


def _best(rows: Sequence[Row], column: str, mode: str) -> tuple[float | None, int | None]:
    scored = [row for row in rows if row.get(column) is not None and np.isfinite(row[column])]
    if not scored:
        return None, None
    choose = max if mode == "max" else min
    best = choose(scored, key=lambda row: row[column])  # the first of equals
    return float(best[column]), int(best["epoch"])
