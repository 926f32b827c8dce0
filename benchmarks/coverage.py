"""Do the 95 % intervals hold what they promise? Simulated studies whose truth is known.

    python benchmarks/coverage.py [--studies 2000] [--seed 0] [--only proportion auroc ...]

Every patient has 1 to 4 images with a correlation of 0.6 (of hits for proportions, else of the
scores behind them). Prints how often intervals held the true value, and how often two models were
called different. "no" in the last column: outside what is wanted by more than the simulation's own
error (binomial test at 0.001). The parts take minutes each.
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
    """How often something came true, and how often it should."""

    what: str
    patients: int
    held: int
    studies: int
    least: float
    most: float

    @property
    def share(self) -> float:
        return self.held / self.studies

    @property
    def met(self) -> bool:
        """Whether the share is in its bounds, but for the simulation's own error."""
        bound = self.least if self.share < self.least else self.most
        if self.least <= self.share <= self.most:
            return True
        side = "less" if self.share < self.least else "greater"
        return bool(stats.binomtest(self.held, self.studies, bound, side).pvalue >= 0.001)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    arguments = parser.parse_args()
    print(f"{arguments.studies} studies a row\n")
    print("| what | patients | share | wanted | met |")
    print("| --- | --- | --- | --- | --- |")
    for name in arguments.only:
        for row in PARTS[name](arguments.studies, arguments.seed):
            wanted = f"{row.least:.0%} to {row.most:.0%}"
            met = "yes" if row.met else "no"
            print(
                f"| {row.what} | {row.patients} | {row.share:.1%} | {wanted} | {met} |", flush=True
            )


def proportions(studies: int, seed: int) -> Iterator[Row]:
    """Accuracy and its kin, by Wilson on the effective sample size."""
    for true, patients in itertools.product((0.5, 0.8, 0.95), (30, 60, 150, 300)):
        rng = np.random.default_rng([seed, 1, patients, round(100 * true)])
        held = 0
        for _ in range(studies):
            codes = images_of(rng, patients)
            low, high = wilson(alike_hits(rng, true, codes, patients), codes)[1]
            held += low <= true <= high
        yield Row(f"proportion {true:g}", patients, held, studies, 0.93, 0.97)


def aurocs(studies: int, seed: int) -> Iterator[Row]:
    """AUROC, by clustered DeLong."""
    for true, patients in itertools.product((0.7, 0.85, 0.95, 0.99), (30, 60, 150, 300)):
        rng = np.random.default_rng([seed, 2, patients, round(100 * true)])
        distance = np.sqrt(2) * stats.norm.ppf(true)
        held = 0
        for _ in range(studies):
            codes = images_of(rng, patients)
            labels, scores = scored(rng, codes, patients, distance)
            low, high = auroc_interval(labels, scores, codes)[1]
            held += low <= true <= high
        bounds = (0.91, 1.0) if true == 0.99 else (0.93, 0.97)
        yield Row(f"AUROC {true:g}", patients, held, studies, *bounds)


def bootstrapped(studies: int, seed: int) -> Iterator[Row]:
    """Metrics that only a bootstrap knows the spread of."""
    distance = 1.8
    rng = np.random.default_rng([seed, 3])
    codes = images_of(rng, 200_000)
    labels, probabilities = judged(*scored(rng, codes, 200_000, distance), distance)
    truth = {name: score(name, labels, probabilities, 1) for name in BOOTSTRAPPED}
    for patients in (150, 300):
        rng = np.random.default_rng([seed, 3, patients])
        held = dict.fromkeys(BOOTSTRAPPED, 0)
        for _ in range(studies):
            codes = images_of(rng, patients)
            labels, probabilities = judged(*scored(rng, codes, patients, distance), distance)
            scorers = {name: scorer(name, labels, probabilities, 1) for name in BOOTSTRAPPED}
            drawn = bootstrap(scorers, codes, patients, resamples=RESAMPLES, rng=rng)
            for name in BOOTSTRAPPED:
                low, high = expanded_percentiles(drawn[name], patients)
                held[name] += low <= truth[name] <= high
        for name in BOOTSTRAPPED:
            yield Row(f"{name} {truth[name]:.3f}", patients, held[name], studies, 0.90, 1.0)


def calibrated(studies: int, seed: int) -> Iterator[Row]:
    """Slope and intercept of an overconfident model's recalibration."""
    distance = 1.8
    rng = np.random.default_rng([seed, 6])
    labels, sharp = _overconfident(rng, images_of(rng, 200_000), 200_000, distance)
    truth = recalibration(labels, sharp, slope=True)(np.ones((1, len(labels))))[0]
    for patients in (150, 300):
        rng = np.random.default_rng([seed, 6, patients])
        held = np.zeros(2, dtype=np.int64)
        for _ in range(studies):
            codes = images_of(rng, patients)
            labels, sharp = _overconfident(rng, codes, patients, distance)
            scorers = {"both": recalibration(labels, sharp, slope=True)}
            drawn = bootstrap(scorers, codes, patients, resamples=RESAMPLES, rng=rng)["both"]
            for k in range(2):
                low, high = expanded_percentiles(drawn[:, k], patients)
                held[k] += low <= truth[k] <= high
        for k, name in enumerate(("calibration intercept", "calibration slope")):
            yield Row(f"{name} {truth[k]:.3f}", patients, int(held[k]), studies, 0.90, 1.0)


def _overconfident(
    rng: np.random.Generator, codes: Integers, patients: int, distance: float
) -> tuple[Integers, Floats]:
    labels, probabilities = judged(*scored(rng, codes, patients, distance), distance)
    return labels, special.expit(OVERCONFIDENCE * special.logit(probabilities[:, 1]))


def selected(studies: int, seed: int) -> Iterator[Row]:
    """BBC: the true accuracy of the trial that looks best."""
    for patients in (60, 150):
        rng = np.random.default_rng([seed, 4, patients])
        held = 0
        for _ in range(studies):
            codes = images_of(rng, patients)
            labels = rng.permutation(np.arange(len(codes)) % 2)
            right = shared_hits(rng, ACCURACIES, codes, patients)
            found = corrected_selection(
                labels,
                answers(labels, right),
                codes,
                "accuracy",
                positive=1,
                seed=int(rng.integers(2**31)),
                resamples=RESAMPLES // 2,
            )
            held += found.low <= ACCURACIES[found.selected] <= found.high
        yield Row("best of 6 trials (BBC)", patients, held, studies, 0.93, 1.0)


def compared(studies: int, seed: int) -> Iterator[Row]:
    """Two models on 600 images, 11 % of which one of them gets right: p at most 0.05."""
    one_each, several = np.ones(600, dtype=np.int64), np.tile([1, 2, 3, 4], 60)
    cases = [
        ("called different: 90 % and 90 %", 0.055, several, 0.0, 0.05),
        ("called different: 90 % and 90 %", 0.055, one_each, 0.0, 0.05),
        ("called different: 90 % and 85 %", 0.08, one_each, 0.75, 1.0),
        ("called different: 90 % and 85 %, correlated", 0.08, several, 0.0, 1.0),
    ]
    for what, only_a, sizes, least, most in cases:
        patients = len(sizes)
        rng = np.random.default_rng([seed, 5, patients, round(1000 * only_a)])
        codes = np.repeat(np.arange(patients), sizes)
        found = 0
        for _ in range(studies):
            labels = rng.permutation(np.arange(len(codes)) % 2)
            place = stats.norm.cdf(alike_normals(rng, codes, patients))
            only_b = 0.11 - only_a  # what b alone gets right
            both_wrong = place > 0.9 + only_b
            wrong_a = (place < only_b) | both_wrong
            wrong_b = ((place >= only_b) & (place < 0.11)) | both_wrong
            a, b = answers(labels, np.stack([~wrong_a, ~wrong_b]))
            seeded = int(rng.integers(2**31))
            test = compare(
                labels, a, b, codes, "accuracy", positive=1, seed=seeded, resamples=RESAMPLES
            )
            found += test.p_value <= 0.05
        yield Row(what, patients, found, studies, least, most)


def images_of(rng: np.random.Generator, patients: int) -> Integers:
    """Each image's patient: 1 to 4 images a patient."""
    return np.repeat(np.arange(patients), rng.integers(1, 5, patients))


def alike_hits(rng: np.random.Generator, true: float, codes: Integers, patients: int) -> Floats:
    """0 or 1 an image, correlated within patients (beta-binomial)."""
    size = 1 / CORRELATION - 1
    own = rng.beta(true * size, (1 - true) * size, patients)
    return (rng.random(len(codes)) < own[codes]).astype(np.float64)


def alike_normals(rng: np.random.Generator, codes: Integers, patients: int) -> Floats:
    """Standard normal numbers, one an image, correlated within patients."""
    own = rng.standard_normal(patients)[codes] * np.sqrt(CORRELATION)
    return own + rng.standard_normal(len(codes)) * np.sqrt(1 - CORRELATION)


def shared_hits(
    rng: np.random.Generator, accuracies: tuple[float, ...], codes: Integers, patients: int
) -> np.ndarray:
    """Which images each trial gets right; images that are hard for one are so for the others."""
    hard = alike_normals(rng, codes, patients) * np.sqrt(0.5)
    own = rng.standard_normal((len(accuracies), len(codes))) * np.sqrt(0.5)
    return hard + own < stats.norm.ppf(accuracies)[:, None]


def scored(
    rng: np.random.Generator, codes: Integers, patients: int, distance: float
) -> tuple[Integers, Floats]:
    """Labels, one a patient, and scores whose means are `distance` apart."""
    sick = np.zeros(patients, dtype=np.int64)
    while not 2 <= sick.sum() <= patients - 2:
        sick = (rng.random(patients) < PREVALENCE).astype(np.int64)
    labels = sick[codes]
    return labels, distance * labels + alike_normals(rng, codes, patients)


def judged(labels: Integers, scores: Floats, distance: float) -> tuple[Integers, Floats]:
    """The probabilities that such scores mean, (n, 2)."""
    positive = special.expit(distance * (scores - distance / 2) + special.logit(PREVALENCE))
    return labels, np.stack([1 - positive, positive], axis=1)


def answers(labels: Integers, right: np.ndarray) -> Floats:
    """Probabilities (trials, n, 2) that are right where they should be."""
    called = np.where(right, labels, 1 - labels)
    return np.where(np.eye(2)[called] == 1, 0.9, 0.1)


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
