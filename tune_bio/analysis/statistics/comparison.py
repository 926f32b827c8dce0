"""Is one model better than another? Two models on the same images."""

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
    """Two models' scores, `difference` = a - b with its 95 % interval, and the p-value."""

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
    """The difference of two models on the same images, for patients like these.

    The interval is that of a bootstrap over patients. The p-value is two-sided, of a permutation
    test that swaps the two models' answers for whole patients, which for a mean over images flips
    the signs of patients' differences. Scores are swapped as ranks where only ranks count, since
    two models' probabilities need not have one scale: Bandos et al. 2005, A permutation test
    sensitive to differences in areas for comparing ROC curves from a paired design, Statistics in
    Medicine 24:2873.

    It speaks of these two trained models; whether a setting is better, over trainings, is what
    `compare_settings` asks.

    Args:
        labels: (n,) class indices; every class occurs.
        probabilities_a: (n, classes) of the one model; `probabilities_b` of the other.
        patients: (n,) each image's patient.
        metric: one of `scoring.METRICS`.
        positive: index of the positive class (two classes).
        patients_known: whether `patients` are patients; if not, the note says so.
        seed: of bootstrap and permutations.
        resamples: bootstrap samples, and permutations.

    Raises:
        StatisticsError: an unknown metric, or arrays that do not fit together.
    """
    a = checked_sample(labels, probabilities_a, patients, positive)
    b = checked_sample(labels, probabilities_b, patients, positive)
    if a.probabilities.shape != b.probabilities.shape:
        raise StatisticsError("the two models have other classes", "compare models of one study")
    for_bootstrap, for_permutations = np.random.default_rng(seed).spawn(2)
    of_a, of_b = _scorer(metric, a), _scorer(metric, b)
    once = np.ones((1, len(a.labels)))
    score_a, score_b = float(of_a(once)[0]), float(of_b(once)[0])
    drawn = bootstrap(
        {"difference": lambda weights: of_a(weights) - of_b(weights)},
        a.codes,
        a.patients,
        resamples=resamples,
        rng=for_bootstrap,
    )
    low, high = expanded_percentiles(drawn["difference"], a.patients)
    notes = [] if patients_known else ["patients unknown: it may find too much"]
    if high - low < ROUNDING or (a.lone and metric in OF_ALL_CLASSES):
        low, high = UNKNOWN
        notes.append("resampling patients shows nothing: no interval")
    return Comparison(
        metric,
        score_a,
        score_b,
        score_a - score_b,
        low,
        high,
        _p_value(a, b, metric, score_a - score_b, resamples, for_permutations),
        "permutation of patients; bootstrap over patients",
        "; ".join(notes),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for being several, in their order; NaN stays and is not counted.

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
    """Share of swaps with a difference as great, the one that was seen among them."""
    labels, codes = np.concatenate([a.labels, a.labels]), a.codes
    both = np.concatenate([_comparable(metric, a), _comparable(metric, b)])
    score = scorer(metric, labels, both, a.positive)
    # Ties with what was seen must count, whatever the order of the summands.
    wanted, as_great = abs(difference) - 1e-12, 1
    for swapped in swapped_patients(rng, a.patients, permutations, 2 * len(labels)):
        as_great += int((np.abs(_swapped_differences(score, swapped, codes)) >= wanted).sum())
    return as_great / (permutations + 1)


def _swapped_differences(score: Scorer, swapped: Floats, codes: Integers) -> Floats:
    """Differences of the two mixed models; the images of a stand before those of b."""
    theirs = swapped[:, codes]
    mixed_a = np.concatenate([1 - theirs, theirs], axis=1)
    return score(mixed_a) - score(1 - mixed_a)


def _comparable(metric: str, sample: Sample) -> Floats:
    return ranks_of_columns(sample.probabilities) if metric in RANKED else sample.probabilities
