"""Bootstrap over patients: every image of a patient is drawn together."""

from collections.abc import Callable, Mapping

import numpy as np

from tune_bio.analysis.statistics.arrays import Floats, Integers, resampled_patients


def bootstrap(
    scorers: Mapping[str, Callable[[Floats], Floats]],
    codes: Integers,
    patients: int,
    *,
    resamples: int,
    rng: np.random.Generator,
) -> dict[str, Floats]:
    """What each scorer gives on each bootstrap sample of patients, the same samples for all.

    Args:
        scorers: weights of images (some resamples, n) to values (some resamples, ...).
        codes: (n,) each image's patient, below `patients`.
        resamples: how many samples, each as many patients as there are, drawn with replacement.

    Returns:
        for each scorer, (resamples, ...).
    """
    found: dict[str, list[Floats]] = {name: [] for name in scorers}
    for counts in resampled_patients(rng, patients, resamples, len(codes)):
        weights = counts[:, codes]
        for name, scorer in scorers.items():
            found[name].append(scorer(weights))
    return {name: np.concatenate(values) for name, values in found.items()}
