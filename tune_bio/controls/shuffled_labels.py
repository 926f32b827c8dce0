"""Labels shuffled between patients, and a permutation test of a model trained on them.

The null hypothesis is that patients are exchangeable: the labels of a patient are unrelated to
its images. The allowed exchanges form a group (in the algebraic sense), so a test that draws from
it is exact, no matter how similar the images of one patient are:

- A patient whose images all have one label (nearly every patient) passes it to any other such
  patient, who receives it for all images, whatever their number. Patients with many and with few
  images get the same labels, so the number of images carries no information either.
- A patient whose images differ in their labels passes them all, in a new order, to another such
  patient with the same number of images. If there is no other, its labels are permuted among its
  own images.

The frequency of each label is preserved among patients, and not exactly among images.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tune_bio.common.seeding import derive
from tune_bio.datasets.images import Images
from tune_bio.errors import DataError
from tune_bio.training.metrics import Labels, Probabilities

Metric = Callable[[Labels, Probabilities], float]
Patients = npt.NDArray[np.str_]

TRIES = 1_000  # to find a shuffle with every class in both splits


def shuffled_labels(train: Images, val: Images, seed: int) -> tuple[Images, Images]:
    """Return both splits with labels permuted between all of their patients.

    A patient in both splits (a leak) gets one label for both, so that a model can profit from the
    leak and the control reveals it. A draw that leaves a split without one of its classes is
    repeated. The test on validation stays exact, since this does not depend on the order of the
    patients within a split.

    Raises:
        DataError: there are so few patients that no shuffle keeps every class in both splits.
    """
    labels = np.concatenate([train.labels, val.labels])
    patients = np.concatenate([train.patients, val.patients])
    shuffle, rng = _Shuffle(labels, patients), np.random.default_rng(derive(seed, "shuffle"))
    for _ in range(TRIES):
        train_labels, val_labels = np.split(shuffle.draw(rng), [len(train)])
        if _same_classes(train_labels, train.labels) and _same_classes(val_labels, val.labels):
            return replace(train, labels=train_labels), replace(val, labels=val_labels)
    raise DataError(
        f"{TRIES} shuffles of the labels left a class out of train or validation",
        "add images of more patients, or leave out the shuffled control",
    )


def permutation_p(
    labels: Labels,
    probabilities: Probabilities,
    patients: Patients,
    metric: Metric,
    seed: int,
    resamples: int = 999,
) -> float:
    """Return the one-sided p value of a metric under labels that are unrelated to the images.

    Use predictions of the last epoch: the best epoch was chosen by these very labels, which alone
    puts it above chance. Images of one patient stay together (see the module). The p value counts
    the observed labels as one of the permutations and is therefore never 0 and never too small
    (Phipson and Smyth, Stat Appl Genet Mol Biol 2010).

    Args:
        labels: validation labels, (n,).
        probabilities: (n, classes).
        patients: (n,).
        metric: function of labels and probabilities, higher is better, such as `metrics.auroc`.
        seed: seed of the permutations.
        resamples: number of permutations; p is a multiple of 1 / (resamples + 1).
    """
    shuffle, rng = _Shuffle(labels, patients), np.random.default_rng(derive(seed, "permute"))
    observed = metric(labels, probabilities)
    permuted = np.array([metric(shuffle.draw(rng), probabilities) for _ in range(resamples)])
    at_least = np.count_nonzero(permuted >= observed - 1e-12)  # equal up to rounding
    return float((1 + at_least) / (1 + resamples))


class _Shuffle:
    """Draws of permuted labels, uniform over all that the exchanges can produce."""

    def __init__(self, labels: Labels, patients: Patients) -> None:
        self._labels = labels
        _, first, patient = np.unique(patients, return_index=True, return_inverse=True)
        differs = labels != labels[first][patient]
        is_mixed = np.bincount(patient, weights=differs) > 0
        self._pure = np.flatnonzero(~is_mixed)  # patients with one label
        self._label, self._patient = labels[first], patient
        self._mixed = _positions_by_image_count(patient, np.flatnonzero(is_mixed))

    def draw(self, rng: np.random.Generator) -> Labels:
        """Return one draw of labels, (n,)."""
        label = self._label.copy()
        label[self._pure] = rng.permutation(label[self._pure])
        labels = label[self._patient]
        for images in self._mixed:  # one row per patient
            labels[images] = rng.permuted(rng.permutation(self._labels[images]), axis=1)
        return labels


def _positions_by_image_count(
    patient: npt.NDArray[np.intp], mixed: npt.NDArray[np.intp]
) -> list[npt.NDArray[np.intp]]:
    """Return the image positions of mixed patients: one (patients, n) array per image count n."""
    by_count: dict[int, list[npt.NDArray[np.intp]]] = {}
    for number in mixed:
        images = np.flatnonzero(patient == number)
        by_count.setdefault(len(images), []).append(images)
    return [np.stack(positions) for positions in by_count.values()]


def _same_classes(a: Labels, b: Labels) -> bool:
    return np.array_equal(np.unique(a), np.unique(b))
