"""Bootstrap over patients: all images of a patient are drawn together."""

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
    """Compute every scorer's value on bootstrap samples of patients, the same samples for all.

    Args:
        scorers: functions from weights of images, (block, n), to values, (block, ...), for a block
            of resamples.
        codes: (n,) each image's patient, as an integer below `patients`.
        patients: number of patients.
        resamples: number of samples; each draws as many patients as there are, with replacement.

    Returns:
        for each scorer, its values (resamples, ...).
    """
    blocks: dict[str, list[Floats]] = {name: [] for name in scorers}
    for counts in resampled_patients(rng, patients, resamples, len(codes)):
        weights = counts[:, codes]
        for name, scorer in scorers.items():
            blocks[name].append(scorer(weights))
    return {name: np.concatenate(values) for name, values in blocks.items()}
