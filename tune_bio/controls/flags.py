"""What is too good to be true, or explained by something else: values in, flags out."""

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

CHANCE = 0.5  # of AUROC, also macro one-vs-rest
NEAR = 0.02  # of AUROC: a control so near to a model explains it
SHUFFLED_P = 0.01  # twice, with fresh shuffles: by chance in one study of 10,000
ABOVE_TRAIN_P = 0.001  # strict, since the best epoch was chosen for its validation score
# These decide on how a training goes on and ends: two that differ in them alone may well be one
# model at their best epoch. The strategies below all begin with the head alone.
LATER = (
    "epochs", "patience", "lr_schedule", "step_size", "gamma", "lp_epochs", "unfreeze_every"
)  # fmt: skip
HEAD_FIRST = {"lp_ft": "backbone", "gradual": "backbone"}


@dataclass(frozen=True)
class Flag:
    """A doubt about a result: its kind, and a sentence for people."""

    kind: Kind
    message: str


def perfect_test(trial: str, accuracy: float, auroc: float, images: int) -> Flag | None:
    """Flag 100 % on a test set, in accuracy or AUROC (fractions)."""
    perfect = [name for name, value in (("accuracy", accuracy), ("AUROC", auroc)) if value >= 1]
    if not perfect:
        return None
    return Flag(
        "perfect_test",
        f"{trial} has {' and '.join(perfect)} of 100 % on {images} test images: look for images or "
        "patients that are also in training, and for what gives the label away.",
    )


def needs_another_shuffle(p: float) -> bool:
    """Whether a shuffled control looks above chance, and must be repeated before it is believed."""
    return p < SHUFFLED_P


def shuffled_above_chance(first_p: float, second_p: float) -> Flag | None:
    """Flag models that were trained on shuffled labels and are above chance, twice.

    Args:
        first_p, second_p: by `permutation_p`, of two fresh shuffles and trainings.
    """
    if not (needs_another_shuffle(first_p) and needs_another_shuffle(second_p)):
        return None
    return Flag(
        "shuffled_above_chance",
        f"Trained on labels that were shuffled between patients, the model is above chance on "
        f"validation, twice (p = {first_p:.2g} and {second_p:.2g}): images of one patient on both "
        "sides of the split, duplicates, or labels that leak.",
    )


def control_near_model(
    name: str,
    control: float,
    model: float,
    *,
    low: float | None = None,
    noise_floor: float = 0.0,
) -> Flag | None:
    """Flag a control that sees no anatomy and does nearly as well as the model, on validation.

    Near is within 2 points of AUROC, or within the noise floor where that is more. A control that
    is itself not above chance explains nothing.

    Args:
        name: `border`, `metadata` or `best_pixel`.
        control, model: their validation AUROC.
        low: the lower bound of the control's AUROC, which then must be above 0.5; without it, the
            control itself must be above 0.5 by more than what counts as near.
        noise_floor: the smallest difference in AUROC that the study could tell from noise.
    """
    near = max(NEAR, noise_floor)
    above_chance = control > CHANCE + near if low is None else low > CHANCE
    if not above_chance or control < model - near:
        return None
    return Flag(
        "control_near_model",
        f"{_SEES[name]} alone reaches a validation AUROC of {control:.3f}, and the model "
        f"{model:.3f}: the model may have learnt the same, and not the disease.",
    )


_SEES = {
    "border": "The border of the images",
    "metadata": "What is known of the files, without a pixel,",
    "best_pixel": "The value of one pixel",
    "pixels": "Logistic regression on pixels",
    "majority": "The majority class",
}


def identical_predictions(predictions: pd.DataFrame, trials: pd.DataFrame) -> list[Flag]:
    """Flag trials of different configurations whose validation probabilities are exactly equal.

    Trials that differ in nothing but how they go on (their length, schedule, or when they unfreeze)
    are left out: their best epoch may lie before they part.

    Args:
        predictions: as in predictions.parquet: trial, split, image, and a `p_` column a class.
        trials: as in trials.parquet: trial_id, seed, and a `params.` column a hyperparameter.
    """
    configurations = _configurations(trials)
    alike: dict[bytes, list[str]] = {}
    columns = [name for name in predictions if str(name).startswith("p_")]
    validation = predictions[predictions["split"] == "val"].sort_values("image", kind="stable")
    for trial, rows in validation.groupby("trial", sort=True):
        images = "\0".join(rows["image"].astype(str)).encode()
        alike.setdefault(images + rows[columns].to_numpy().tobytes(), []).append(str(trial))
    return [
        Flag(
            "identical_predictions",
            f"Trials {', '.join(same)} have exactly the same validation probabilities, and not the "
            "same configuration and seed: what they differ in has no effect, or one was not run.",
        )
        for same in alike.values()
        if len({configurations[trial] for trial in same}) > 1
    ]


def _configurations(trials: pd.DataFrame) -> Mapping[str, str]:
    """What tells each trial from others from its first epoch on."""
    later = {f"params.{name}" for name in LATER}
    given = [name for name in trials if str(name).startswith("params.") and name not in later]
    table = trials[[*given, "seed"]].astype(object)
    if "params.freeze" in table:
        table["params.freeze"] = table["params.freeze"].replace(HEAD_FIRST)
    rows = table.itertuples(index=False)
    return {
        str(trial): repr(tuple(row)) for trial, row in zip(trials["trial_id"], rows, strict=True)
    }


def one_class(name: str, probabilities: Probabilities, classes: Sequence[str]) -> Flag | None:
    """Flag a predictor that gives all images, (n, classes), to one class."""
    predicted = np.unique(probabilities.argmax(axis=1))
    if len(predicted) != 1:
        return None
    return Flag(
        "one_class",
        f"{name} predicts {classes[predicted[0]]!r} for all {len(probabilities)} images: its "
        "accuracy is that of the majority, or worse.",
    )


def validation_above_train(
    trial: str, train_accuracy: float, val_accuracy: float, patients: int
) -> Flag | None:
    """Flag a validation accuracy far above that on the training images, beyond binomial noise.

    As many right answers of so many independent ones would have a probability below 0.001 if the
    accuracy were that on train (exact one-sided binomial test).

    Args:
        trial: its name.
        train_accuracy: in eval mode and without augmentation, as `generalization_gap` takes it.
        val_accuracy: at the same epoch.
        patients: of validation; images of one patient are no independent answers.
    """
    right = round(val_accuracy * patients)
    p = binomtest(right, patients, min(max(train_accuracy, 0.0), 1.0), alternative="greater").pvalue
    if val_accuracy <= train_accuracy or p >= ABOVE_TRAIN_P:
        return None
    return Flag(
        "validation_above_train",
        f"{trial} has an accuracy of {val_accuracy:.1%} on validation and {train_accuracy:.1%} on "
        "its own training images: validation is easier, has other shares of the classes, or "
        "something gives its labels away.",
    )
