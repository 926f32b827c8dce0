"""The images of all splits of a data set as arrays, in the form that the checks need."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tune_bio.datasets.audit.findings import AffectedImage, Counts
from tune_bio.datasets.images import Dataset, Images
from tune_bio.datasets.pixels import Header

SEALED = "test"  # of this split, only names, hashes, counts and defects are reported


@dataclass(frozen=True)
class AuditedImages:
    """A data set as (n,) arrays over all images, in the order of the splits, train first."""

    dataset: Dataset

    @property
    def images(self) -> tuple[Images, ...]:
        """The splits."""
        return tuple(self.dataset.splits.values())

    @cached_property
    def split(self) -> npt.NDArray[np.str_]:
        """The name of each image's split, (n,)."""
        splits = self.dataset.splits
        return np.repeat(np.array(list(splits)), [len(images) for images in splits.values()])

    @cached_property
    def source_split(self) -> npt.NDArray[np.str_]:
        """The split of each image in the source, (n,): train for splits that were cut from it."""
        return np.where(np.isin(self.split, self.dataset.splits_from_train), "train", self.split)

    @cached_property
    def names(self) -> npt.NDArray[np.str_]:
        """The name of each image, (n,)."""
        return np.concatenate([images.names for images in self.images])

    @cached_property
    def patients(self) -> npt.NDArray[np.str_]:
        """The patient of each image, (n,); the image's own name if the patient is unknown."""
        return np.concatenate([images.patients for images in self.images])

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """The class index of each image, (n,)."""
        return np.concatenate([images.labels for images in self.images])

    @cached_property
    def headers(self) -> list[Header]:
        """Size, depth and colour of each image as stored."""
        return [h for images in self.images for h in images.source.headers(images.rows)]

    @cached_property
    def file_hashes(self) -> list[str | None]:
        """The SHA-256 of each image's file; None for images that are not files."""
        hashes: list[str | None] = []
        for images in self.images:
            hashes += images.source.file_hashes(images.rows) or [None] * len(images)
        return hashes

    @property
    def patients_known(self) -> bool:
        """True if the source names patients."""
        return self.dataset.patients_known

    def affected_image(self, i: int, detail: str = "") -> AffectedImage:
        """Return image `i` as an entry of a finding."""
        return AffectedImage(str(self.names[i]), str(self.split[i]), detail)

    def labelled(self, i: int) -> AffectedImage:
        """Return image `i` with its label as the detail, left out for a sealed split."""
        sealed = self.split[i] == SEALED
        return self.affected_image(i, "" if sealed else self.dataset.classes[self.labels[i]])

    def affected_images(self, positions: Iterable[int]) -> list[AffectedImage]:
        """Return the images at these positions as entries of a finding."""
        return [self.affected_image(i) for i in positions]

    def counts(self) -> Counts:
        """Count images, and patients if they are known, by split and class."""
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
