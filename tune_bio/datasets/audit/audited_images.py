"""The images of a data set's splits, laid out one after another, as the checks look at them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tune_bio.datasets.audit.findings import AffectedImage, Counts
from tune_bio.datasets.images import Dataset, Images
from tune_bio.datasets.pixels import Header

SEALED = "test"  # of this split nothing is told but names, hashes, counts and defects


@dataclass(frozen=True)
class AuditedImages:
    """A data set as the checks see it: (n,) arrays over all images, train first."""

    dataset: Dataset

    @property
    def images(self) -> tuple[Images, ...]:
        """The splits."""
        return tuple(self.dataset.splits.values())

    @cached_property
    def split(self) -> npt.NDArray[np.str_]:
        """(n,) the split's name."""
        splits = self.dataset.splits
        return np.repeat(np.array(list(splits)), [len(images) for images in splits.values()])

    @cached_property
    def given(self) -> npt.NDArray[np.str_]:
        """(n,) the split that the source gave: train for those that were cut from it."""
        return np.where(np.isin(self.split, self.dataset.splits_from_train), "train", self.split)

    @cached_property
    def names(self) -> npt.NDArray[np.str_]:
        """(n,) the images' names."""
        return np.concatenate([images.names for images in self.images])

    @cached_property
    def patients(self) -> npt.NDArray[np.str_]:
        """(n,) the patients; the image's own name where it is not known."""
        return np.concatenate([images.patients for images in self.images])

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """(n,) the class indices."""
        return np.concatenate([images.labels for images in self.images])

    @cached_property
    def headers(self) -> list[Header]:
        """Size, depth and colour of each image as it is stored."""
        return [h for images in self.images for h in images.source.headers(images.rows)]

    @cached_property
    def file_hashes(self) -> list[str | None]:
        """The SHA-256 of each image's file; None for an image that is none."""
        found: list[str | None] = []
        for images in self.images:
            found += images.source.file_hashes(images.rows) or [None] * len(images)
        return found

    @property
    def patients_known(self) -> bool:
        """Whether patients are told at all."""
        return self.dataset.patients_known

    def affected_image(self, i: int, detail: str = "") -> AffectedImage:
        """An image of a finding."""
        return AffectedImage(str(self.names[i]), str(self.split[i]), detail)

    def labelled(self, i: int) -> AffectedImage:
        """The same with its label, which of a sealed split is not told."""
        sealed = self.split[i] == SEALED
        return self.affected_image(i, "" if sealed else self.dataset.classes[self.labels[i]])

    def affected(self, where: Iterable[int]) -> list[AffectedImage]:
        """Images of a finding."""
        return [self.affected_image(i) for i in where]

    def counts(self) -> Counts:
        """Images, and patients where they are known, by split and class."""
        return {
            split: {name: self._count(images, k) for k, name in enumerate(self.dataset.classes)}
            for split, images in self.dataset.splits.items()
        }

    def _count(self, images: Images, k: int) -> dict[str, int]:
        of_class = images.labels == k
        counts = {"images": int(of_class.sum())}
        if self.patients_known:
            counts["patients"] = len(np.unique(images.patients[of_class]))
        return counts
