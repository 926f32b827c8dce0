"""How good is one model? Every metric with its interval, beside what chance would reach."""

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
from tune_bio.analysis.statistics.operating_point import WILSON, among, at_threshold
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
AT_THE_END = "Newcombe's method 5, patients for images"
FEW = 30


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
    """Every metric of one model with a 95 % interval that knows of patients.

    Shares of images have Wilson's interval (`proportions.wilson`), AUROC the one of clustered
    DeLong (`roc.auroc_interval`), the others percentiles of a bootstrap over patients; the expected
    calibration error has none.

    Args:
        labels: (n,) class indices; every class occurs.
        probabilities: (n, classes), rows summing to 1.
        patients: (n,) each image's patient, of any type that sorts.
        classes: the classes' names, in order.
        positive: index of the positive class (two classes; ignored for more).
        threshold: the probability from which on an image is called positive (two classes; 1/2
            unless given). Accuracy and its kin take the most likely class, as the epochs table.
        prevalence: also give PPV and NPV where so many are positive (two classes).
        patients_known: whether `patients` are patients; if not, each interval says so.
        seed: of the bootstrap.
        resamples: bootstrap samples.

    Returns:
        two classes: accuracy, balanced_accuracy, macro_f1, loss, brier, auroc, auprc, sensitivity,
        specificity, ppv, npv, with `prevalence` ppv_at_prevalence and npv_at_prevalence,
        calibration_slope, calibration_intercept, calibration_in_the_large, ece. More: the first
        seven (auroc and auprc macro, one against the rest), sensitivity:CLASS, specificity:CLASS
        and auroc:CLASS for each class, ece.

    Raises:
        StatisticsError: arrays that do not fit together, a class without images, one patient.
    """
    sample = checked_sample(labels, probabilities, patients, positive)
    if len(classes) != sample.classes:
        raise StatisticsError(
            f"{len(classes)} names do not fit {sample.classes} classes", "name each class"
        )
    two = sample.classes == 2
    scorers: dict[str, Scorer] = {
        name: scorer(name, sample.labels, sample.probabilities, positive)
        for name in ("balanced_accuracy", "macro_f1", "loss", "brier", "auprc")
    }
    if two:
        scorers |= calibration_scorers(sample)
    else:
        scorers["auroc"] = scorer("auroc", sample.labels, sample.probabilities, positive)
    drawn = _Drawn(sample, scorers, seed, resamples)
    found = [_accuracy(sample)]
    found += [_resampled(sample, drawn, name) for name in ("balanced_accuracy", "macro_f1", "loss")]
    found.append(_resampled(sample, drawn, "brier"))
    found.append(_auroc(sample, positive, "auroc") if two else _resampled(sample, drawn, "auroc"))
    found.append(_resampled(sample, drawn, "auprc"))
    if two:
        found += at_threshold(sample, 0.5 if threshold is None else threshold, prevalence)
        found += _calibration(sample, drawn)
    else:
        found += _one_against_the_rest(sample, classes)
    error = expected_calibration_error(sample)
    found.append(Estimate("ece", error, *UNKNOWN, "none", None, f"{BINS} bins of even width"))
    return found if patients_known else [_warned(estimate) for estimate in found]


class _Drawn:
    """Values of the scorers on the images as they are, and on bootstrap samples."""

    def __init__(
        self, sample: Sample, scorers: dict[str, Scorer], seed: int, resamples: int
    ) -> None:
        once = np.ones((1, len(sample.labels)))
        self.values = {name: scorer(once)[0] for name, scorer in scorers.items()}
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


def _auroc(sample: Sample, of: int, name: str) -> Estimate:
    truth = (sample.labels == of).astype(np.int64)
    value, (low, high) = auroc_interval(truth, sample.probabilities[:, of], sample.codes)
    method = DELONG if 0 < value < 1 else AT_THE_END
    return Estimate(name, value, low, high, method, 0.5)


def _resampled(sample: Sample, drawn: _Drawn, name: str) -> Estimate:
    value = float(drawn.values[name])
    low, high = expanded_percentiles(drawn.resampled[name], sample.patients)
    method = BOOTSTRAP
    notes = [f"only {sample.patients} patients"] if sample.patients < FEW else []
    if sample.lone and name in OF_ALL_CLASSES:
        (low, high), method = _without_resampling(name, sample, value)
        notes.append("a class has one patient")
    elif high - low < ROUNDING:
        (low, high), method = _without_resampling(name, sample, value)
    elif math.isnan(low):
        notes.append("most bootstrap samples lack a class")
    return Estimate(name, value, low, high, method, _chance(name, sample), "; ".join(notes))


def _without_resampling(name: str, sample: Sample, value: float) -> tuple[Limits, str]:
    """Limits of a metric that bootstrap samples do not change, as when every image is right."""
    of_each = range(sample.classes)
    if name == "auroc":
        areas = [_auroc(sample, k, name) for k in of_each]
        limits = [(area.low, area.high) for area in areas]
        return _mean_limits([area.value for area in areas], limits), "MOVER of DeLong's limits"
    # Macro F1 is the mean of recalls only where these are all 0 or all 1.
    if name == "balanced_accuracy" or (name == "macro_f1" and value in (0, 1)):
        right = sample.probabilities.argmax(axis=1) == sample.labels
        shares = [wilson(right[at].astype(np.float64), sample.codes[at]) for at in _members(sample)]
        return _mean_limits([s[0] for s in shares], [s[1] for s in shares]), "MOVER of Wilson's"
    if name == "auprc" and value == 1:
        counted = [sample.positive] if sample.classes == 2 else of_each
        members = [_members(sample)[k] for k in counted]
        shares = [wilson(np.ones(int(at.sum())), sample.codes[at]) for at in members]
        return _mean_limits([s[0] for s in shares], [s[1] for s in shares]), "MOVER of Wilson's"
    if name == "brier":
        most = 1.0 if sample.classes == 2 else 2.0
        losses = image_losses("brier", sample.labels, sample.probabilities) / most
        if set(np.round(losses, 9)) <= {0.0, 1.0}:
            low, high = wilson(np.round(losses), sample.codes)[1]
            return (most * low, most * high), WILSON
    return UNKNOWN, "none: resampling patients shows nothing"


def _mean_limits(values: list[float], limits: list[Limits]) -> Limits:
    return mean_of_independent(np.array(values), limits)


def _members(sample: Sample) -> list[Flags]:
    return [sample.labels == k for k in range(sample.classes)]


def _calibration(sample: Sample, drawn: _Drawn) -> list[Estimate]:
    recalibrated, value = drawn.resampled["recalibration"], drawn.values["recalibration"]
    large = drawn.resampled["calibration_in_the_large"]
    wanted = {
        "calibration_slope": (float(value[1]), recalibrated[:, 1], "1 is right"),
        "calibration_intercept": (float(value[0]), recalibrated[:, 0], "0 is right"),
        "calibration_in_the_large": (
            float(drawn.values["calibration_in_the_large"]),
            large,
            "0 is right; the slope held at 1",
        ),
    }
    alike = np.ptp(bounded_logits(sample.probabilities[:, sample.positive])) == 0
    why = "every image has one probability" if alike else "the model separates the classes"
    found = []
    for name, (estimate, resampled, note) in wanted.items():
        limits = expanded_percentiles(resampled, sample.patients)
        if sample.lone:
            limits, note = UNKNOWN, f"{note}; a class has one patient"
        if math.isnan(estimate):
            limits, note = UNKNOWN, f"not defined: {why}"
        found.append(Estimate(name, estimate, *limits, BOOTSTRAP, None, note))
    return found


def _one_against_the_rest(sample: Sample, classes: Sequence[str]) -> list[Estimate]:
    predicted, found = sample.probabilities.argmax(axis=1), []
    for k, name in enumerate(classes):
        truth, called = sample.labels == k, predicted == k
        share = float(called.mean())
        found += [
            among(f"sensitivity:{name}", called, truth, sample, share, ""),
            among(f"specificity:{name}", ~called, ~truth, sample, 1 - share, ""),
            _auroc(sample, k, f"auroc:{name}"),
        ]
    return found


def _chance(name: str, sample: Sample) -> float:
    """What one answer for all images reaches: the most frequent class, or how frequent each is."""
    shares: Floats = np.bincount(sample.labels, minlength=sample.classes) / len(sample.labels)
    most = float(shares.max())
    brier = float((shares * (1 - shares)).sum())
    return {
        "accuracy": most,
        "balanced_accuracy": 1 / sample.classes,
        "macro_f1": 2 * most / (1 + most) / sample.classes,
        "loss": float(-(shares * np.log(shares)).sum()),
        "brier": brier / 2 if sample.classes == 2 else brier,
        "auroc": 0.5,
        "auprc": float(shares[sample.positive] if sample.classes == 2 else shares.mean()),
    }[name]


def _warned(estimate: Estimate) -> Estimate:
    return replace(estimate, note=f"{estimate.note}; {NARROW}".removeprefix("; "))
