"""Labels shuffled between patients, and the test of whether a model found something in them.

The null hypothesis is that patients are exchangeable: which patient bears which labels has
nothing to do with the images. What may be exchanged forms a group (in the sense of algebra), so
that a test that draws from it anew is exact, however alike the images of one patient are:

- A patient whose images all bear one label (nearly every patient) gives it to any other such
  patient, who bears it on all of its images, be they more or fewer. Patients with many images
  get no other labels than those with few, so their number tells nothing either.
- A patient whose images differ in their labels gives them all, in a new order, to another such
  patient with as many images, since a longer or shorter row of labels would not be the same one.
  Where no other has as many, its labels change places among its own images.

How often each label occurs is kept among patients, and not exactly among images.
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

TRIES = 1_000  # of a shuffle in which every class occurs on both sides


def shuffled_labels(train: Images, val: Images, seed: int) -> tuple[Images, Images]:
    """The same images with labels permuted between the patients of both splits together.

    A patient who stands in both splits (a leak) keeps one label in both, so that a model may
    profit from the leak, and the control shows it. A draw that leaves a split without one of its
    classes is drawn again, which leaves the test on validation exact: whether it is so does not
    depend on the order of the patients within a split.

    Raises:
        DataError: so few patients that no shuffle leaves every class in both splits.
    """
    labels = np.concatenate([train.labels, val.labels])
    patients = np.concatenate([train.patients, val.patients])
    shuffle, rng = _Shuffle(labels, patients), np.random.default_rng(derive(seed, "shuffle"))
    for _ in range(TRIES):
        for_train, for_val = np.split(shuffle.draw(rng), [len(train)])
        if _same_classes(for_train, train.labels) and _same_classes(for_val, val.labels):
            return replace(train, labels=for_train), replace(val, labels=for_val)
    raise DataError(
        f"{TRIES} shuffles of the labels left a class out of train or validation",
        "add images of more patients, or do without the shuffled control",
    )


def permutation_p(
    labels: Labels,
    probabilities: Probabilities,
    patients: Patients,
    metric: Metric,
    seed: int,
    resamples: int = 999,
) -> float:
    """How probable so high a metric is where labels have nothing to do with images: one-sided p.

    For predictions at the last epoch: the best epoch was chosen by these very labels, and is
    above chance for that reason alone. Images of one patient keep together (see the module), and
    the p value counts the observed labels among the permuted ones, and is therefore never 0 and
    never too small (Phipson and Smyth, Stat Appl Genet Mol Biol 2010).

    Args:
        labels: (n,) of validation.
        probabilities: (n, classes).
        patients: (n,).
        metric: of labels and probabilities, the higher the better, such as `metrics.auroc`.
        seed: of the permutations.
        resamples: how many there are; p is a multiple of 1 / (resamples + 1).
    """
    shuffle, rng = _Shuffle(labels, patients), np.random.default_rng(derive(seed, "permute"))
    observed = metric(labels, probabilities)
    permuted = np.array([metric(shuffle.draw(rng), probabilities) for _ in range(resamples)])
    as_high = np.count_nonzero(permuted >= observed - 1e-12)  # equal but for rounding is equal
    return float((1 + as_high) / (1 + resamples))


class _Shuffle:
    """Draws of labels, each as likely as any other that can be reached from `labels`."""

    def __init__(self, labels: Labels, patients: Patients) -> None:
        self._labels = labels
        _, first, patient = np.unique(patients, return_index=True, return_inverse=True)
        differs = labels != labels[first][patient]
        is_mixed = np.bincount(patient, weights=differs) > 0
        self._pure = np.flatnonzero(~is_mixed)  # patients with one label
        self._label, self._patient = labels[first], patient
        self._mixed = _by_number_of_images(patient, np.flatnonzero(is_mixed))

    def draw(self, rng: np.random.Generator) -> Labels:
        """(n,) labels."""
        label = self._label.copy()
        label[self._pure] = rng.permutation(label[self._pure])
        labels = label[self._patient]
        for images in self._mixed:  # rows are patients
            labels[images] = rng.permuted(rng.permutation(self._labels[images]), axis=1)
        return labels


def _by_number_of_images(
    patient: npt.NDArray[np.intp], mixed: npt.NDArray[np.intp]
) -> list[npt.NDArray[np.intp]]:
    """The positions of the images of these patients, (patients, images) for each number."""
    found: dict[int, list[npt.NDArray[np.intp]]] = {}
    for one in mixed:
        images = np.flatnonzero(patient == one)
        found.setdefault(len(images), []).append(images)
    return [np.stack(each) for each in found.values()]


def _same_classes(some: Labels, others: Labels) -> bool:
    return np.array_equal(np.unique(some), np.unique(others))
