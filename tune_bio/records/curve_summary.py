"""The columns of trials.parquet that are computed from a trial's curve."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Row = dict[str, Any]
PLATEAU = 0.01  # of the fall of val_loss, from the first epoch to the best


def summarize(rows: Sequence[Row], metric: str, mode: str) -> Row:
    """Return the columns that are computed from the epochs of one trial, given in order.

    Each `best_` column is its own optimum over the epochs; `best_epoch` is the first epoch with the
    best `metric`. Epochs without a finite value (training diverged) never count as best.
    `epochs_to_plateau` and `val_loss_jitter` are described at the functions of these names.
    """
    if not rows:
        return {}
    last = rows[-1]
    losses = np.array([row.get("val_loss", np.nan) for row in rows], np.float64)
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
        "epochs_to_plateau": epochs_to_plateau(losses),
        "val_loss_jitter": val_loss_jitter(losses),
        "seconds": float(sum(row["seconds"] for row in rows)),
        "seconds_per_epoch": float(np.mean([row["seconds"] for row in rows])),
    }


def epochs_to_plateau(losses: npt.NDArray[np.float64]) -> int | None:
    """Return the first epoch at which the validation loss has completed 99 % of its fall.

    The fall is measured from the first epoch to the best one, so a later rise (overfitting) does
    not count; the band of 1 % is that of a settling time in control engineering.

    Args:
        losses: (epochs,), from the first epoch on, in nats; NaN where training diverged.

    Returns:
        The epoch, counted from 1; None if no loss is finite.
    """
    finite = np.flatnonzero(np.isfinite(losses))
    if not len(finite):
        return None
    best, first = losses[finite].min(), losses[finite[0]]
    within = losses[finite] <= best + PLATEAU * (first - best)
    return int(finite[within.argmax()]) + 1


def val_loss_jitter(losses: npt.NDArray[np.float64]) -> float | None:
    """Return the standard deviation of the validation loss about its trend, from epoch to epoch.

    It is computed from the differences between each epoch and the mean of its two neighbours, in
    which any smooth trend cancels (Gasser, Sroka & Jennen-Steinmetz 1986, Residual variance and
    residual pattern in nonlinear regression, Biometrika 73:625).

    Args:
        losses: (epochs,), as in `epochs_to_plateau`.

    Returns:
        The deviation in nats; None without three consecutive epochs with a finite loss.
    """
    residuals = losses[1:-1] - (losses[:-2] + losses[2:]) / 2
    residuals = residuals[np.isfinite(residuals)]
    if not len(residuals):
        return None
    # The variance of such a difference is 1 + 1/4 + 1/4 times the variance of one epoch.
    return float(np.sqrt(np.mean(residuals**2) / 1.5))


def _best(rows: Sequence[Row], column: str, mode: str) -> tuple[float | None, int | None]:
    scored = [row for row in rows if row.get(column) is not None and np.isfinite(row[column])]
    if not scored:
        return None, None
    choose = max if mode == "max" else min
    best = choose(scored, key=lambda row: row[column])  # the first of equals
    return float(best[column]), int(best["epoch"])
