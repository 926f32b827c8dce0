"""Comparison of two models on the same images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from statsmodels.stats.multitest import multipletests

from tune_bio.analysis.statistics.arrays import Floats, Integers, swapped_patients
from tune_bio.analysis.statistics.intervals import ROUNDING, UNKNOWN, expanded_percentiles
from tune_bio.analysis.statistics.resampling import bootstrap
from tune_bio.analysis.statistics.sample import Sample, checked_sample
from tune_bio.analysis.statistics.scoring import OF_ALL_CLASSES, Scorer, ranks_of_columns, scorer
from tune_bio.errors import StatisticsError

RANKED = ("auroc", "auprc")


@dataclass(frozen=True)
class Comparison:
    """Scores of two models, their `difference` a - b with its 95 % interval, and its p-value."""

    metric: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float
    method: str
    note: str = ""


def compare(
    labels: npt.ArrayLike,
    probabilities_a: npt.ArrayLike,
    probabilities_b: npt.ArrayLike,
    patients: npt.NDArray[Any],
    metric: str,
    *,
    positive: int,
    patients_known: bool = True,
    seed: int,
    resamples: int = 2000,
) -> Comparison:
    """Compare two models on the same images, for patients like these.

    The interval comes from a bootstrap over patients. The p-value is two-sided and comes from a
    permutation test that swaps the two models' answers for whole patients; for a mean over images
    this flips the signs of patients' differences. Where only ranks count, ranks are swapped in
    place of scores, since two models' probabilities need not share a scale: Bandos et al. 2005, A
    permutation test sensitive to differences in areas for comparing ROC curves from a paired
    design, Statistics in Medicine 24:2873.

    The result is about these two trained models; `compare_over_seeds` compares configurations over
    several trainings.

    Args:
        labels: (n,) class indices; every class occurs.
        probabilities_a: (n, classes) of the first model.
        probabilities_b: (n, classes) of the second model.
        patients: (n,) each image's patient.
        metric: one of `scoring.METRICS`.
        positive: index of the positive class (two classes).
        patients_known: False if the true patients are unknown; the note then says so.
        seed: seed of the bootstrap and the permutations.
        resamples: number of bootstrap samples, and of permutations.

    Raises:
        StatisticsError: the metric is unknown, or the arrays do not fit together.
    """
    a = checked_sample(labels, probabilities_a, patients, positive)
    b = checked_sample(labels, probabilities_b, patients, positive)
    if a.probabilities.shape != b.probabilities.shape:
        raise StatisticsError(
            "the two models have different classes", "compare models of one study"
        )
    bootstrap_rng, permutation_rng = np.random.default_rng(seed).spawn(2)
    scorer_a, scorer_b = _scorer(metric, a), _scorer(metric, b)
    unit_weights = np.ones((1, len(a.labels)))
    score_a, score_b = float(scorer_a(unit_weights)[0]), float(scorer_b(unit_weights)[0])
    drawn = bootstrap(
        {"difference": lambda weights: scorer_a(weights) - scorer_b(weights)},
        a.codes,
        a.patients,
        resamples=resamples,
        rng=bootstrap_rng,
    )
    low, high = expanded_percentiles(drawn["difference"], a.patients)
    notes = [] if patients_known else ["patients unknown: the p-value may be too small"]
    if high - low < ROUNDING or (a.has_single_patient_class and metric in OF_ALL_CLASSES):
        low, high = UNKNOWN
        notes.append("resampling patients is not informative: no interval")
    return Comparison(
        metric,
        score_a,
        score_b,
        score_a - score_b,
        low,
        high,
        _p_value(a, b, metric, score_a - score_b, resamples, permutation_rng),
        "permutation of patients; bootstrap over patients",
        "; ".join(notes),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for multiple testing, in their order; NaN stays NaN and is not counted.

    Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6:65.
    """
    defined = [p for p in p_values if not math.isnan(p)]
    corrected = iter(multipletests(defined, method="holm")[1].tolist() if defined else [])
    return [p if math.isnan(p) else float(next(corrected)) for p in p_values]


def _scorer(metric: str, sample: Sample) -> Scorer:
    return scorer(metric, sample.labels, sample.probabilities, sample.positive)


def _p_value(
    a: Sample,
    b: Sample,
    metric: str,
    difference: float,
    permutations: int,
    rng: np.random.Generator,
) -> float:
    """Return the share of swaps with a difference at least as large, counting the observed one."""
    labels, codes = np.concatenate([a.labels, a.labels]), a.codes
    both = np.concatenate([_comparable(metric, a), _comparable(metric, b)])
    score = scorer(metric, labels, both, a.positive)
    # Ties with the observed difference must count, whatever the order of summation.
    threshold, as_large = abs(difference) - 1e-12, 1
    for swapped in swapped_patients(rng, a.patients, permutations, 2 * len(labels)):
        as_large += int((np.abs(_swapped_differences(score, swapped, codes)) >= threshold).sum())
    return as_large / (permutations + 1)


def _swapped_differences(score: Scorer, swapped: Floats, codes: Integers) -> Floats:
    """Return the differences of the two mixed models; images of a come before those of b."""
    swapped_images = swapped[:, codes]
    mixed_a = np.concatenate([1 - swapped_images, swapped_images], axis=1)
    return score(mixed_a) - score(1 - mixed_a)


def _comparable(metric: str, sample: Sample) -> Floats:
    return ranks_of_columns(sample.probabilities) if metric in RANKED else sample.probabilities
