"""How good is the best trial really? The best of many looks better than it is."""

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
    """The selected trial's score, and what it is expected to be on other patients.

    `selected` is the trial's index, `score` its own score, `value` with `low` and `high` the
    corrected one; `optimism` is by how much its own is better (positive: it flatters).
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
    """Bootstrap bias corrected score of the best of many trials.

    Patients are drawn with replacement, the best trial on them is scored on those not drawn:
    Tsamardinos, Greasidou & Borboudakis 2018, Bootstrapping the out-of-sample predictions for
    efficient and accurate cross-validation, Machine Learning 107:1895. The interval is somewhat too
    wide, since about a third of the patients is scored at a time.

    Args:
        labels: (n,) class indices of the validation images; every class occurs.
        probabilities: (trials, n, classes), all trials on the same images.
        patients: (n,) each image's patient.
        metric: one of `scoring.METRICS`; the trial that it ranks best is selected, the first of
            equals.
        positive: index of the positive class (two classes).
        patients_known: whether `patients` are patients; if not, the note says so.
        seed: of the bootstrap.
        resamples: bootstrap samples. Memory and time grow with trials x resamples.

    Raises:
        StatisticsError: an unknown metric, arrays that do not fit together, or too few patients to
            score any winner on those not drawn.
    """
    shares = checked_probabilities(probabilities, None, None, None)
    if len(shares) == 0:
        raise StatisticsError("there is no trial to select from", "give the trials with scores")
    trials = [checked_sample(labels, each, patients, positive) for each in shares]
    scorers = [scorer(metric, t.labels, t.probabilities, positive) for t in trials]
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    own = np.array([float(score(np.ones((1, shares.shape[1])))[0]) for score in scorers])
    selected = int(np.argmax(sign * own))
    drawn = _out_of_bag(trials[0], scorers, sign, resamples, np.random.default_rng(seed))
    if 2 * np.isnan(drawn).sum() > len(drawn):
        raise StatisticsError(
            f"{trials[0].patients} patients are too few to correct the best trial's score",
            "most samples of them lack a class; use more validation patients",
        )
    value = float(np.nanmean(drawn))
    low, high = expanded_percentiles(drawn, trials[0].patients)
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
    """Each bootstrap sample's winner, scored on the patients that it lacks: (resamples,)."""
    found = []
    for counts in resampled_patients(rng, sample.patients, resamples, len(sample.labels)):
        inside = counts[:, sample.codes]
        outside = (inside == 0).astype(np.float64)
        scores = np.stack([sign * score(inside) for score in scorers], axis=1)
        undefined = np.isnan(scores).any(axis=1)
        winners = np.argmax(np.nan_to_num(scores, nan=-np.inf), axis=1)
        values = np.full(len(winners), np.nan)
        for trial in np.unique(winners):
            of_trial = winners == trial
            values[of_trial] = scorers[trial](outside[of_trial])
        values[undefined] = np.nan
        found.append(values)
    return np.concatenate(found)
