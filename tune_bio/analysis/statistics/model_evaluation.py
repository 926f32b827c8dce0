"""Evaluation of one model: every metric with its interval and its value by chance."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_bio.analysis.statistics.arrays import Flags, Floats
from tune_bio.analysis.statistics.calibration import (
    BINS,
    calibration_scorers,
    expected_calibration_error,
)
from tune_bio.analysis.statistics.intervals import (
    NARROW,
    ROUNDING,
    UNKNOWN,
    Estimate,
    Limits,
    expanded_percentiles,
    mean_of_independent,
)
from tune_bio.analysis.statistics.operating_point import WILSON, at_threshold, estimate_share
from tune_bio.analysis.statistics.proportions import wilson
from tune_bio.analysis.statistics.resampling import bootstrap
from tune_bio.analysis.statistics.roc import auroc_interval
from tune_bio.analysis.statistics.sample import Sample, checked_sample
from tune_bio.analysis.statistics.scoring import (
    OF_ALL_CLASSES,
    Scorer,
    bounded_logits,
    image_losses,
    scorer,
)
from tune_bio.errors import StatisticsError

BOOTSTRAP = "bootstrap over patients, expanded percentiles"
DELONG = "clustered DeLong, logit scale, t"
DELONG_BOUNDARY = "Newcombe's method 5, patients for images"
FEW_PATIENTS = 30


def evaluate_model(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    patients: npt.NDArray[Any],
    *,
    classes: Sequence[str],
    positive: int,
    threshold: float | None = None,
    prevalence: float | None = None,
    patients_known: bool = True,
    seed: int,
    resamples: int = 2000,
) -> list[Estimate]:
    """Estimate every metric of one model, with 95 % intervals that account for patients.

    Proportions of images have Wilson's interval (`proportions.wilson`), AUROC that of clustered
    DeLong (`roc.auroc_interval`), the others percentiles of a bootstrap over patients; the expected
    calibration error has none.

    Args:
        labels: (n,) class indices; every class occurs.
        probabilities: (n, classes), rows summing to 1.
        patients: (n,) each image's patient, of any type that sorts.
        classes: names of the classes, in order.
        positive: index of the positive class (two classes; ignored for more).
        threshold: the probability at or above which an image is called positive (two classes; 1/2
            by default). Accuracy, balanced accuracy and macro F1 use the most likely class, as in
            the epochs table.
        prevalence: also estimate PPV and NPV at this prevalence (two classes).
        patients_known: False if the true patients are unknown; each estimate's note then says so.
        seed: seed of the bootstrap.
        resamples: number of bootstrap samples.

    Returns:
        Two classes: accuracy, balanced_accuracy, macro_f1, loss, brier, auroc, auprc, sensitivity,
        specificity, ppv, npv, with `prevalence` ppv_at_prevalence and npv_at_prevalence,
        calibration_slope, calibration_intercept, calibration_in_the_large, ece. More: the first
        seven (auroc and auprc macro, one-vs-rest), sensitivity:CLASS, specificity:CLASS
        and auroc:CLASS for each class, ece.

    Raises:
        StatisticsError: the arrays do not fit together, a class has no image, or there is only one
            patient.
    """
    sample = checked_sample(labels, probabilities, patients, positive)
    if len(classes) != sample.classes:
        raise StatisticsError(
            f"{len(classes)} names do not fit {sample.classes} classes", "name each class"
        )
    two_classes = sample.classes == 2
    scorers: dict[str, Scorer] = {
        name: scorer(name, sample.labels, sample.probabilities, positive)
        for name in ("balanced_accuracy", "macro_f1", "loss", "brier", "auprc")
    }
    if two_classes:
        scorers |= calibration_scorers(sample)
    else:
        scorers["auroc"] = scorer("auroc", sample.labels, sample.probabilities, positive)
    scored = _BootstrapScores(sample, scorers, seed, resamples)
    estimates = [_accuracy(sample)]
    estimates += [
        _bootstrapped(sample, scored, name) for name in ("balanced_accuracy", "macro_f1", "loss")
    ]
    estimates.append(_bootstrapped(sample, scored, "brier"))
    estimates.append(
        _auroc(sample, positive, "auroc") if two_classes else _bootstrapped(sample, scored, "auroc")
    )
    estimates.append(_bootstrapped(sample, scored, "auprc"))
    if two_classes:
        estimates += at_threshold(sample, 0.5 if threshold is None else threshold, prevalence)
        estimates += _calibration(sample, scored)
    else:
        estimates += _one_vs_rest(sample, classes)
    error = expected_calibration_error(sample)
    estimates.append(Estimate("ece", error, *UNKNOWN, "none", None, f"{BINS} bins of equal width"))
    return estimates if patients_known else [_with_narrow_note(estimate) for estimate in estimates]


class _BootstrapScores:
    """Values of the scorers on the original images and on bootstrap samples."""

    def __init__(
        self, sample: Sample, scorers: dict[str, Scorer], seed: int, resamples: int
    ) -> None:
        unit_weights = np.ones((1, len(sample.labels)))
        self.values = {name: scorer(unit_weights)[0] for name, scorer in scorers.items()}
        self.resampled = bootstrap(
            scorers,
            sample.codes,
            sample.patients,
            resamples=resamples,
            rng=np.random.default_rng(seed),
        )


def _accuracy(sample: Sample) -> Estimate:
    right = sample.probabilities.argmax(axis=1) == sample.labels
    value, (low, high) = wilson(right.astype(np.float64), sample.codes)
    return Estimate("accuracy", value, low, high, WILSON, _chance("accuracy", sample))


def _auroc(sample: Sample, label: int, name: str) -> Estimate:
    truth = (sample.labels == label).astype(np.int64)
    value, (low, high) = auroc_interval(truth, sample.probabilities[:, label], sample.codes)
    method = DELONG if 0 < value < 1 else DELONG_BOUNDARY
    return Estimate(name, value, low, high, method, 0.5)


def _bootstrapped(sample: Sample, scored: _BootstrapScores, name: str) -> Estimate:
    value = float(scored.values[name])
    low, high = expanded_percentiles(scored.resampled[name], sample.patients)
    method = BOOTSTRAP
    notes = [f"only {sample.patients} patients"] if sample.patients < FEW_PATIENTS else []
    if sample.has_single_patient_class and name in OF_ALL_CLASSES:
        (low, high), method = _without_resampling(name, sample, value)
        notes.append("a class has one patient")
    elif high - low < ROUNDING:
        (low, high), method = _without_resampling(name, sample, value)
    elif math.isnan(low):
        notes.append("most bootstrap samples lack a class")
    return Estimate(name, value, low, high, method, _chance(name, sample), "; ".join(notes))


def _without_resampling(name: str, sample: Sample, value: float) -> tuple[Limits, str]:
    """Return limits and method of a metric whose bootstrap values are of no use.

    They are not if they are all equal, for example because every image is right, or if a class has
    only one patient.
    """
    class_indices = range(sample.classes)
    if name == "auroc":
        areas = [_auroc(sample, k, name) for k in class_indices]
        limits = [(area.low, area.high) for area in areas]
        return _mean_limits([area.value for area in areas], limits), "MOVER of DeLong's limits"
    # Macro F1 is the mean of the recalls only if these are all 0 or all 1.
    if name == "balanced_accuracy" or (name == "macro_f1" and value in (0, 1)):
        right = sample.probabilities.argmax(axis=1) == sample.labels
        shares = [
            wilson(right[members].astype(np.float64), sample.codes[members])
            for members in _class_members(sample)
        ]
        return _mean_limits([s[0] for s in shares], [s[1] for s in shares]), "MOVER of Wilson's"
    if name == "auprc" and value == 1:
        counted = [sample.positive] if sample.classes == 2 else class_indices
        groups = [_class_members(sample)[k] for k in counted]
        shares = [wilson(np.ones(int(members.sum())), sample.codes[members]) for members in groups]
        return _mean_limits([s[0] for s in shares], [s[1] for s in shares]), "MOVER of Wilson's"
    if name == "brier":
        maximum = 1.0 if sample.classes == 2 else 2.0
        losses = image_losses("brier", sample.labels, sample.probabilities) / maximum
        if set(np.round(losses, 9)) <= {0.0, 1.0}:
            low, high = wilson(np.round(losses), sample.codes)[1]
            return (maximum * low, maximum * high), WILSON
    return UNKNOWN, "none: resampling patients shows nothing"


def _mean_limits(values: list[float], limits: list[Limits]) -> Limits:
    return mean_of_independent(np.array(values), limits)


def _class_members(sample: Sample) -> list[Flags]:
    return [sample.labels == k for k in range(sample.classes)]


def _calibration(sample: Sample, scored: _BootstrapScores) -> list[Estimate]:
    recalibrated, value = scored.resampled["recalibration"], scored.values["recalibration"]
    large = scored.resampled["calibration_in_the_large"]
    figures = {
        "calibration_slope": (float(value[1]), recalibrated[:, 1], "1 is ideal"),
        "calibration_intercept": (float(value[0]), recalibrated[:, 0], "0 is ideal"),
        "calibration_in_the_large": (
            float(scored.values["calibration_in_the_large"]),
            large,
            "0 is ideal; the slope is fixed at 1",
        ),
    }
    is_constant = np.ptp(bounded_logits(sample.probabilities[:, sample.positive])) == 0
    reason = (
        "all images have the same probability" if is_constant else "the model separates the classes"
    )
    estimates = []
    for name, (estimate, resampled, note) in figures.items():
        limits = expanded_percentiles(resampled, sample.patients)
        if sample.has_single_patient_class:
            limits, note = UNKNOWN, f"{note}; a class has one patient"
        if math.isnan(estimate):
            limits, note = UNKNOWN, f"undefined: {reason}"
        estimates.append(Estimate(name, estimate, *limits, BOOTSTRAP, None, note))
    return estimates


def _one_vs_rest(sample: Sample, classes: Sequence[str]) -> list[Estimate]:
    predicted, estimates = sample.probabilities.argmax(axis=1), []
    for k, name in enumerate(classes):
        truth, called = sample.labels == k, predicted == k
        share = float(called.mean())
        estimates += [
            estimate_share(f"sensitivity:{name}", called, truth, sample, share, ""),
            estimate_share(f"specificity:{name}", ~called, ~truth, sample, 1 - share, ""),
            _auroc(sample, k, f"auroc:{name}"),
        ]
    return estimates


def _chance(name: str, sample: Sample) -> float:
    """Return the value of a model that gives all images the same answer.

    The answer is the most frequent class or, as probabilities, the frequencies of the classes.
    """
    shares: Floats = np.bincount(sample.labels, minlength=sample.classes) / len(sample.labels)
    largest = float(shares.max())
    brier = float((shares * (1 - shares)).sum())
    return {
        "accuracy": largest,
        "balanced_accuracy": 1 / sample.classes,
        "macro_f1": 2 * largest / (1 + largest) / sample.classes,
        "loss": float(-(shares * np.log(shares)).sum()),
        "brier": brier / 2 if sample.classes == 2 else brier,
        "auroc": 0.5,
        "auprc": float(shares[sample.positive] if sample.classes == 2 else shares.mean()),
    }[name]


def _with_narrow_note(estimate: Estimate) -> Estimate:
    return replace(estimate, note=f"{estimate.note}; {NARROW}".removeprefix("; "))
