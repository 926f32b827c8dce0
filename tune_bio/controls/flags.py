"""Flags for results that are too good to be true or explained by something else.

The functions take plain values and return flags.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from tune_bio.training.metrics import Probabilities

Kind = Literal[
    "perfect_test",
    "shuffled_above_chance",
    "control_near_model",
    "identical_predictions",
    "one_class",
    "validation_above_train",
]

CHANCE = 0.5  # AUROC, also macro one-vs-rest
NEAR = 0.02  # AUROC; a control this close to a model explains it
SHUFFLED_P = 0.01  # required twice, with new shuffles: by chance in one study of 10,000
ABOVE_TRAIN_P = 0.001  # strict, since the best epoch was chosen for its validation score
# These hyperparameters affect only the later epochs: two trials that differ in nothing else may be
# the same model at their best epoch. The freeze strategies below all train only the head first.
LATER = (
    "epochs", "patience", "lr_schedule", "step_size", "gamma", "lp_epochs", "unfreeze_every"
)  # fmt: skip
HEAD_FIRST = {"lp_ft": "backbone", "gradual": "backbone"}


@dataclass(frozen=True)
class Flag:
    """A doubt about a result: its kind and a readable sentence."""

    kind: Kind
    message: str


def perfect_test(trial: str, accuracy: float, auroc: float, images: int) -> Flag | None:
    """Flag an accuracy or AUROC (as fractions) of 100 % on a test set."""
    perfect = [name for name, value in (("accuracy", accuracy), ("AUROC", auroc)) if value >= 1]
    if not perfect:
        return None
    return Flag(
        "perfect_test",
        f"{trial} has {' and '.join(perfect)} of 100 % on {images} test images: look for images or "
        "patients that are also in training, and for anything that reveals the label.",
    )


def needs_another_shuffle(p: float) -> bool:
    """Return True if a shuffled control appears above chance, which a second one must confirm."""
    return p < SHUFFLED_P


def shuffled_above_chance(first_p: float, second_p: float) -> Flag | None:
    """Flag models trained on shuffled labels that are above chance twice.

    Args:
        first_p, second_p: p values by `permutation_p`, of two independent shuffles and trainings.
    """
    if not (needs_another_shuffle(first_p) and needs_another_shuffle(second_p)):
        return None
    return Flag(
        "shuffled_above_chance",
        f"Trained on labels that were shuffled between patients, the model is above chance on "
        f"validation, twice (p = {first_p:.2g} and {second_p:.2g}): look for patients in both "
        "splits, duplicates, and leaked labels.",
    )


def control_near_model(
    name: str,
    control: float,
    model: float,
    *,
    low: float | None = None,
    noise_floor: float = 0.0,
) -> Flag | None:
    """Flag a control that sees no anatomy but is nearly as good as the model on validation.

    Nearly means within 0.02 of AUROC, or within the noise floor if that is larger. A control that
    is not above chance itself explains nothing.

    Args:
        name: `border`, `metadata` or `best_pixel`.
        control, model: their validation AUROC.
        low: lower confidence bound of the control's AUROC, which must be above 0.5. Without it,
            the AUROC itself must exceed 0.5 by more than the tolerance above.
        noise_floor: the smallest AUROC difference that the study can distinguish from noise.
    """
    near = max(NEAR, noise_floor)
    above_chance = control > CHANCE + near if low is None else low > CHANCE
    if not above_chance or control < model - near:
        return None
    return Flag(
        "control_near_model",
        f"{_INPUTS[name]} alone reaches a validation AUROC of {control:.3f}, and the model "
        f"{model:.3f}: the model may have learnt the same cue instead of the disease.",
    )


_INPUTS = {
    "border": "The border of the images",
    "metadata": "The metadata of the files",
    "best_pixel": "The value of one pixel",
    "pixels": "Logistic regression on pixels",
    "majority": "The majority class",
}


def identical_predictions(predictions: pd.DataFrame, trials: pd.DataFrame) -> list[Flag]:
    """Flag trials of different configurations whose validation probabilities are exactly equal.

    Trials that differ only in hyperparameters of later epochs (length, schedule, unfreezing) are
    not flagged: their best epoch may come before their trainings diverge.

    Args:
        predictions: as in predictions.parquet: trial, split, image, and a `p_` column per class.
        trials: as in trials.parquet: trial_id, seed, and a `params.` column per hyperparameter.
    """
    configurations = _configurations(trials)
    trials_by_content: dict[bytes, list[str]] = {}
    columns = [name for name in predictions if str(name).startswith("p_")]
    validation = predictions[predictions["split"] == "val"].sort_values("image", kind="stable")
    for trial, rows in validation.groupby("trial", sort=True):
        images = "\0".join(rows["image"].astype(str)).encode()
        trials_by_content.setdefault(images + rows[columns].to_numpy().tobytes(), []).append(
            str(trial)
        )
    return [
        Flag(
            "identical_predictions",
            f"Trials {', '.join(identical)} have exactly the same validation probabilities but "
            "different configurations or seeds: the difference has no effect, or one was not run.",
        )
        for identical in trials_by_content.values()
        if len({configurations[trial] for trial in identical}) > 1
    ]


def _configurations(trials: pd.DataFrame) -> Mapping[str, str]:
    """Return, by trial, the hyperparameters and seed that matter from the first epoch on."""
    later = {f"params.{name}" for name in LATER}
    columns = [name for name in trials if str(name).startswith("params.") and name not in later]
    table = trials[[*columns, "seed"]].astype(object)
    if "params.freeze" in table:
        table["params.freeze"] = table["params.freeze"].replace(HEAD_FIRST)
    rows = table.itertuples(index=False)
    return {
        str(trial): repr(tuple(row)) for trial, row in zip(trials["trial_id"], rows, strict=True)
    }


def one_class(name: str, probabilities: Probabilities, classes: Sequence[str]) -> Flag | None:
    """Flag a predictor that assigns all images to one class; `probabilities` is (n, classes)."""
    predicted = np.unique(probabilities.argmax(axis=1))
    if len(predicted) != 1:
        return None
    return Flag(
        "one_class",
        f"{name} predicts {classes[predicted[0]]!r} for all {len(probabilities)} images: its "
        "accuracy is at most that of the majority class.",
    )


def validation_above_train(
    trial: str, train_accuracy: float, val_accuracy: float, patients: int
) -> Flag | None:
    """Flag a validation accuracy that exceeds training accuracy by more than binomial noise.

    The threshold is p < 0.001 in an exact one-sided binomial test against the training accuracy.

    Args:
        trial: name of the trial.
        train_accuracy: in evaluation mode and without augmentation, as in `generalization_gap`.
        val_accuracy: at the same epoch.
        patients: number of validation patients; images of one patient are not independent.
    """
    correct = round(val_accuracy * patients)
    p = binomtest(
        correct, patients, min(max(train_accuracy, 0.0), 1.0), alternative="greater"
    ).pvalue
    if val_accuracy <= train_accuracy or p >= ABOVE_TRAIN_P:
        return None
    return Flag(
        "validation_above_train",
        f"{trial} has an accuracy of {val_accuracy:.1%} on validation and {train_accuracy:.1%} on "
        "its own training images: validation is easier, has another class balance, or something "
        "reveals its labels.",
    )
