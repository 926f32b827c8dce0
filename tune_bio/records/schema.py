"""The tables of every study: file names, columns and their types.

Columns that are filled later, such as those of the test set, exist from the beginning, as nulls.
`epochs_to_plateau` is the first epoch at which val_loss has completed 99 % of its fall,
`val_loss_jitter` the standard deviation of val_loss about its trend, from epoch to epoch (both in
`curve_summary`).
"""

from typing import Any, Literal

import pyarrow as pa

Row = dict[str, Any]
Status = Literal["running", "completed", "stopped_early", "diverged", "failed", "interrupted"]

TRIALS, EPOCHS, PREDICTIONS = "trials.parquet", "epochs.parquet", "predictions.parquet"
EVALUATIONS = "evaluations.parquet"


ARROW_TYPES: dict[object, pa.DataType] = {int: pa.int64(), float: pa.float64(), str: pa.string()}


TRIAL_COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("trial_id", pa.string()),
    ("config_id", pa.string()),
    ("status", pa.string()),
    ("error", pa.string()),
    ("replicate", pa.int64()),
    ("seed", pa.int64()),
    ("epochs_run", pa.int64()),
    ("epochs_trained", pa.int64()),
    ("reused_from", pa.string()),
    ("best_epoch", pa.int64()),
    ("best_val_auroc", pa.float64()),
    ("best_val_accuracy", pa.float64()),
    ("best_val_loss", pa.float64()),
    ("best_val_loss_epoch", pa.int64()),
    ("best_train_accuracy", pa.float64()),
    ("final_train_loss", pa.float64()),
    ("final_train_accuracy", pa.float64()),
    ("final_val_loss", pa.float64()),
    ("final_val_accuracy", pa.float64()),
    ("generalization_gap", pa.float64()),
    ("epochs_to_plateau", pa.int64()),
    ("val_loss_jitter", pa.float64()),
    ("test_loss", pa.float64()),
    ("test_accuracy", pa.float64()),
    ("test_accuracy_low", pa.float64()),
    ("test_accuracy_high", pa.float64()),
    ("test_auroc", pa.float64()),
    ("test_auroc_low", pa.float64()),
    ("test_auroc_high", pa.float64()),
    ("seconds", pa.float64()),
    ("seconds_per_epoch", pa.float64()),
    ("parameters", pa.int64()),
    ("trainable_parameters", pa.int64()),
    ("multiply_adds", pa.int64()),
    ("node", pa.string()),
    ("gpu", pa.string()),
)

EPOCH_COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("trial_id", pa.string()),
    ("epoch", pa.int64()),
    ("train_loss", pa.float64()),
    ("train_accuracy", pa.float64()),
    ("val_loss", pa.float64()),
    ("val_accuracy", pa.float64()),
    ("val_balanced_accuracy", pa.float64()),
    ("val_macro_f1", pa.float64()),
    ("val_auroc", pa.float64()),
    ("lr", pa.float64()),
    ("seconds", pa.float64()),
    ("images_per_second", pa.float64()),
)

EVALUATION_COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("trial", pa.string()),
    ("split", pa.string()),
    ("metric", pa.string()),
    ("value", pa.float64()),
    ("low", pa.float64()),
    ("high", pa.float64()),
    ("chance", pa.float64()),
    ("method", pa.string()),
    ("note", pa.string()),
)

FOLDER_REMEDY = "give the folder of a study, such as results/NAME"
