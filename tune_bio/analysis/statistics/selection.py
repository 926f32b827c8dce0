"""Score of the best trial, corrected for being selected: the best of many looks too good."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_bio.analysis.statistics.arrays import Floats, checked_probabilities, resampled_patients
from tune_bio.analysis.statistics.intervals import NARROW, expanded_percentiles
from tune_bio.analysis.statistics.sample import Sample, checked_sample
from tune_bio.analysis.statistics.scoring import LOWER_IS_BETTER, Scorer, scorer
from tune_bio.errors import StatisticsError


@dataclass(frozen=True)
class Selection:
    """The selected trial's score, and its expected score on other patients.

    `selected` is the trial's index and `score` its own score; `value`, `low` and `high` are the
    corrected score and its limits. `optimism` is by how much the own score is better than the
    corrected one (positive: the own score is too good).
    """

    metric: str
    selected: int
    score: float
    value: float
    low: float
    high: float
    optimism: float
    method: str = "BBC: best of a bootstrap of patients, scored on the others"
    note: str = ""


def corrected_selection(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    patients: npt.NDArray[Any],
    metric: str,
    *,
    positive: int,
    patients_known: bool = True,
    seed: int,
    resamples: int = 1000,
) -> Selection:
    """Compute the score of the best of many trials by bootstrap bias correction (BBC).

    Patients are drawn with replacement, and the best trial on them is scored on those not drawn:
    Tsamardinos, Greasidou & Borboudakis 2018, Bootstrapping the out-of-sample predictions for
    efficient and accurate cross-validation, Machine Learning 107:1895. The interval is somewhat too
    wide, since only about a third of the patients is scored at a time.

    Args:
        labels: (n,) class indices of the validation images; every class occurs.
        probabilities: (trials, n, classes), all trials on the same images.
        patients: (n,) each image's patient.
        metric: one of `scoring.METRICS`; the trial that it ranks best is selected, the first among
            equals.
        positive: index of the positive class (two classes).
        patients_known: False if the true patients are unknown; the note then says so.
        seed: seed of the bootstrap.
        resamples: number of bootstrap samples. Memory and time grow with trials x resamples.

    Raises:
        StatisticsError: the metric is unknown, the arrays do not fit together, or the patients are
            too few to score winners on those not drawn.
    """
    predicted = checked_probabilities(probabilities, None, None, None)
    if len(predicted) == 0:
        raise StatisticsError(
            "there is no trial to select from", "give the trials that have scores"
        )
    samples = [checked_sample(labels, probs, patients, positive) for probs in predicted]
    scorers = [scorer(metric, s.labels, s.probabilities, positive) for s in samples]
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    own = np.array([float(score(np.ones((1, predicted.shape[1])))[0]) for score in scorers])
    selected = int(np.argmax(sign * own))
    corrected = _out_of_bag(samples[0], scorers, sign, resamples, np.random.default_rng(seed))
    if 2 * np.isnan(corrected).sum() > len(corrected):
        raise StatisticsError(
            f"{samples[0].patients} patients are too few to correct the best trial's score",
            "most bootstrap samples lack a class; use more validation patients",
        )
    value = float(np.nanmean(corrected))
    low, high = expanded_percentiles(corrected, samples[0].patients)
    return Selection(
        metric,
        selected,
        float(own[selected]),
        value,
        low,
        high,
        sign * (float(own[selected]) - value),
        note="" if patients_known else NARROW,
    )


def _out_of_bag(
    sample: Sample, scorers: list[Scorer], sign: float, resamples: int, rng: np.random.Generator
) -> Floats:
    """Score each bootstrap sample's winner on the patients not drawn: (resamples,)."""
    blocks = []
    for counts in resampled_patients(rng, sample.patients, resamples, len(sample.labels)):
        in_bag = counts[:, sample.codes]
        out_of_bag = (in_bag == 0).astype(np.float64)
        scores = np.stack([sign * score(in_bag) for score in scorers], axis=1)
        undefined = np.isnan(scores).any(axis=1)
        winners = np.argmax(np.nan_to_num(scores, nan=-np.inf), axis=1)
        values = np.full(len(winners), np.nan)
        for trial in np.unique(winners):
            is_winner = winners == trial
            values[is_winner] = scorers[trial](out_of_bag[is_winner])
        values[undefined] = np.nan
        blocks.append(values)
    return np.concatenate(blocks)
