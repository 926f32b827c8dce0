"""Coverage of the 95 % intervals, in simulated studies whose true values are known.

    python benchmarks/coverage.py [--studies 2000] [--seed 0] [--only proportion auroc ...]

Every patient has 1 to 4 images with a correlation of 0.6 (of hits for proportions, otherwise of the
underlying scores). Prints how often the intervals contain the true value, and how often two models
are called different. "no" in the last column: outside the target by more than the simulation error
(binomial test at 0.001). Each part takes minutes.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from tune_bio.analysis.statistics import compare, corrected_selection
from tune_bio.analysis.statistics.arrays import Floats, Integers
from tune_bio.analysis.statistics.intervals import expanded_percentiles
from tune_bio.analysis.statistics.proportions import wilson
from tune_bio.analysis.statistics.resampling import bootstrap
from tune_bio.analysis.statistics.roc import auroc_interval
from tune_bio.analysis.statistics.scoring import recalibration, score, scorer

CORRELATION = 0.6
RESAMPLES = 1000
PREVALENCE = 1 / 3
BOOTSTRAPPED = ("balanced_accuracy", "macro_f1", "auprc", "loss", "brier")
OVERCONFIDENCE = 2.5
ACCURACIES = (0.78, 0.80, 0.80, 0.82, 0.82, 0.84)


@dataclass(frozen=True)
class Row:
    """The number of studies with an outcome, and the target for their share."""

    outcome: str
    patients: int
    count: int
    studies: int
    least: float
    most: float

    @property
    def share(self) -> float:
        return self.count / self.studies

    @property
    def met(self) -> bool:
        """True if the share is within its bounds, up to the simulation error."""
        bound = self.least if self.share < self.least else self.most
        if self.least <= self.share <= self.most:
            return True
        side = "less" if self.share < self.least else "greater"
        return bool(stats.binomtest(self.count, self.studies, bound, side).pvalue >= 0.001)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    arguments = parser.parse_args()
    print(f"{arguments.studies} studies per row\n")
    print("| outcome | patients | share | target | met |")
    print("| --- | --- | --- | --- | --- |")
    for name in arguments.only:
        for row in PARTS[name](arguments.studies, arguments.seed):
            target = f"{row.least:.0%} to {row.most:.0%}"
            met = "yes" if row.met else "no"
            print(
                f"| {row.outcome} | {row.patients} | {row.share:.1%} | {target} | {met} |",
                flush=True,
            )


def proportions(studies: int, seed: int) -> Iterator[Row]:
    """Accuracy and other proportions, by Wilson on the effective sample size."""
    for true, patients in itertools.product((0.5, 0.8, 0.95), (30, 60, 150, 300)):
        rng = np.random.default_rng([seed, 1, patients, round(100 * true)])
        covered = 0
        for _ in range(studies):
            codes = patient_codes(rng, patients)
            low, high = wilson(correlated_hits(rng, true, codes, patients), codes)[1]
            covered += low <= true <= high
        yield Row(f"proportion {true:g}", patients, covered, studies, 0.93, 0.97)


def aurocs(studies: int, seed: int) -> Iterator[Row]:
    """AUROC, by clustered DeLong."""
    for true, patients in itertools.product((0.7, 0.85, 0.95, 0.99), (30, 60, 150, 300)):
        rng = np.random.default_rng([seed, 2, patients, round(100 * true)])
        distance = np.sqrt(2) * stats.norm.ppf(true)
        covered = 0
        for _ in range(studies):
            codes = patient_codes(rng, patients)
            labels, scores = draw_scores(rng, codes, patients, distance)
            low, high = auroc_interval(labels, scores, codes)[1]
            covered += low <= true <= high
        bounds = (0.91, 1.0) if true == 0.99 else (0.93, 0.97)
        yield Row(f"AUROC {true:g}", patients, covered, studies, *bounds)


def bootstrapped(studies: int, seed: int) -> Iterator[Row]:
    """Metrics whose spread is estimated by the bootstrap."""
    distance = 1.8
    rng = np.random.default_rng([seed, 3])
    codes = patient_codes(rng, 200_000)
    labels, probabilities = with_probabilities(
        *draw_scores(rng, codes, 200_000, distance), distance
    )
    truth = {name: score(name, labels, probabilities, 1) for name in BOOTSTRAPPED}
    for patients in (150, 300):
        rng = np.random.default_rng([seed, 3, patients])
        covered = dict.fromkeys(BOOTSTRAPPED, 0)
        for _ in range(studies):
            codes = patient_codes(rng, patients)
            labels, probabilities = with_probabilities(
                *draw_scores(rng, codes, patients, distance), distance
            )
            scorers = {name: scorer(name, labels, probabilities, 1) for name in BOOTSTRAPPED}
            drawn = bootstrap(scorers, codes, patients, resamples=RESAMPLES, rng=rng)
            for name in BOOTSTRAPPED:
                low, high = expanded_percentiles(drawn[name], patients)
                covered[name] += low <= truth[name] <= high
        for name in BOOTSTRAPPED:
            yield Row(f"{name} {truth[name]:.3f}", patients, covered[name], studies, 0.90, 1.0)


def calibrated(studies: int, seed: int) -> Iterator[Row]:
    """Recalibration of an overconfident model: slope and intercept."""
    distance = 1.8
    rng = np.random.default_rng([seed, 6])
    labels, sharp = _overconfident(rng, patient_codes(rng, 200_000), 200_000, distance)
    truth = recalibration(labels, sharp, slope=True)(np.ones((1, len(labels))))[0]
    for patients in (150, 300):
        rng = np.random.default_rng([seed, 6, patients])
        covered = np.zeros(2, dtype=np.int64)
        for _ in range(studies):
            codes = patient_codes(rng, patients)
            labels, sharp = _overconfident(rng, codes, patients, distance)
            scorers = {"both": recalibration(labels, sharp, slope=True)}
            drawn = bootstrap(scorers, codes, patients, resamples=RESAMPLES, rng=rng)["both"]
            for k in range(2):
                low, high = expanded_percentiles(drawn[:, k], patients)
                covered[k] += low <= truth[k] <= high
        for k, name in enumerate(("calibration intercept", "calibration slope")):
            yield Row(f"{name} {truth[k]:.3f}", patients, int(covered[k]), studies, 0.90, 1.0)


def _overconfident(
    rng: np.random.Generator, codes: Integers, patients: int, distance: float
) -> tuple[Integers, Floats]:
    labels, probabilities = with_probabilities(
        *draw_scores(rng, codes, patients, distance), distance
    )
    return labels, special.expit(OVERCONFIDENCE * special.logit(probabilities[:, 1]))


def selected(studies: int, seed: int) -> Iterator[Row]:
    """True accuracy of the trial that looks best, by BBC."""
    for patients in (60, 150):
        rng = np.random.default_rng([seed, 4, patients])
        covered = 0
        for _ in range(studies):
            codes = patient_codes(rng, patients)
            labels = rng.permutation(np.arange(len(codes)) % 2)
            right = shared_hits(rng, ACCURACIES, codes, patients)
            estimate = corrected_selection(
                labels,
                hits_as_probabilities(labels, right),
                codes,
                "accuracy",
                positive=1,
                seed=int(rng.integers(2**31)),
                resamples=RESAMPLES // 2,
            )
            covered += estimate.low <= ACCURACIES[estimate.selected] <= estimate.high
        yield Row("best of 6 trials (BBC)", patients, covered, studies, 0.93, 1.0)


def compared(studies: int, seed: int) -> Iterator[Row]:
    """Two models on 600 images, 11 % of which exactly one classifies correctly: p <= 0.05."""
    single, several = np.ones(600, dtype=np.int64), np.tile([1, 2, 3, 4], 60)
    cases = [
        ("called different: 90 % and 90 %", 0.055, several, 0.0, 0.05),
        ("called different: 90 % and 90 %", 0.055, single, 0.0, 0.05),
        ("called different: 90 % and 85 %", 0.08, single, 0.75, 1.0),
        ("called different: 90 % and 85 %, correlated", 0.08, several, 0.0, 1.0),
    ]
    for outcome, only_a, sizes, least, most in cases:
        patients = len(sizes)
        rng = np.random.default_rng([seed, 5, patients, round(1000 * only_a)])
        codes = np.repeat(np.arange(patients), sizes)
        called_different = 0
        for _ in range(studies):
            labels = rng.permutation(np.arange(len(codes)) % 2)
            quantile = stats.norm.cdf(correlated_normals(rng, codes, patients))
            only_b = 0.11 - only_a  # the share that only b classifies correctly
            both_wrong = quantile > 0.9 + only_b
            wrong_a = (quantile < only_b) | both_wrong
            wrong_b = ((quantile >= only_b) & (quantile < 0.11)) | both_wrong
            a, b = hits_as_probabilities(labels, np.stack([~wrong_a, ~wrong_b]))
            test_seed = int(rng.integers(2**31))
            test = compare(
                labels, a, b, codes, "accuracy", positive=1, seed=test_seed, resamples=RESAMPLES
            )
            called_different += test.p_value <= 0.05
        yield Row(outcome, patients, called_different, studies, least, most)


def patient_codes(rng: np.random.Generator, patients: int) -> Integers:
    """Draw the patient of each image: 1 to 4 images per patient."""
    return np.repeat(np.arange(patients), rng.integers(1, 5, patients))


def correlated_hits(
    rng: np.random.Generator, true: float, codes: Integers, patients: int
) -> Floats:
    """Draw 0 or 1 for each image, correlated within patients (beta-binomial)."""
    size = 1 / CORRELATION - 1
    rates = rng.beta(true * size, (1 - true) * size, patients)
    return (rng.random(len(codes)) < rates[codes]).astype(np.float64)


def correlated_normals(rng: np.random.Generator, codes: Integers, patients: int) -> Floats:
    """Draw a standard normal number for each image, correlated within patients."""
    patient_part = rng.standard_normal(patients)[codes] * np.sqrt(CORRELATION)
    return patient_part + rng.standard_normal(len(codes)) * np.sqrt(1 - CORRELATION)


def shared_hits(
    rng: np.random.Generator, accuracies: tuple[float, ...], codes: Integers, patients: int
) -> np.ndarray:
    """Draw which images each trial classifies correctly; hard images are hard for all trials."""
    difficulty = correlated_normals(rng, codes, patients) * np.sqrt(0.5)
    trial_part = rng.standard_normal((len(accuracies), len(codes))) * np.sqrt(0.5)
    return difficulty + trial_part < stats.norm.ppf(accuracies)[:, None]


def draw_scores(
    rng: np.random.Generator, codes: Integers, patients: int, distance: float
) -> tuple[Integers, Floats]:
    """Draw one label per patient, and scores whose class means are `distance` apart."""
    sick = np.zeros(patients, dtype=np.int64)
    while not 2 <= sick.sum() <= patients - 2:
        sick = (rng.random(patients) < PREVALENCE).astype(np.int64)
    labels = sick[codes]
    return labels, distance * labels + correlated_normals(rng, codes, patients)


def with_probabilities(
    labels: Integers, scores: Floats, distance: float
) -> tuple[Integers, Floats]:
    """Return the labels with the probabilities, (n, 2), that such scores imply."""
    positive = special.expit(distance * (scores - distance / 2) + special.logit(PREVALENCE))
    return labels, np.stack([1 - positive, positive], axis=1)


def hits_as_probabilities(labels: Integers, right: np.ndarray) -> Floats:
    """Return probabilities (trials, n, 2) that are right for the images in `right`."""
    predicted = np.where(right, labels, 1 - labels)
    return np.where(np.eye(2)[predicted] == 1, 0.9, 0.1)


PARTS: dict[str, Callable[[int, int], Iterator[Row]]] = {
    "proportion": proportions,
    "auroc": aurocs,
    "bootstrap": bootstrapped,
    "calibration": calibrated,
    "selection": selected,
    "comparison": compared,
}

if __name__ == "__main__":
    main()
