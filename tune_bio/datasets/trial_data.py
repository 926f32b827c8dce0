"""Images prepared for one trial: its train and validation splits as arrays."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tune_bio.datasets.feature_arrays import FeatureCut, Features
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.pixels import PixelFormat, Pixels, Rows
from tune_bio.datasets.row_view import RowView, base_array
from tune_bio.datasets.transforms.geometry import Geometry


@dataclass(frozen=True)
class PreparedSplit:
    """Resized pixels (n, S, S, C) and labels (n,) int64; arrays may be read-only.

    `features` are the stored features of the images, (n, *cut.row), or None.
    """

    pixels: Pixels | RowView[Pixels]
    labels: npt.NDArray[np.int64]
    features: Features | RowView[Features] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TrialData:
    """Everything that a trial may see: train and validation at one geometry.

    If both splits have features, `cut` describes the part of the network that computed them, and
    `features_key` identifies their bytes. `split_key` identifies a re-split; it is empty for the
    study's own split.
    """

    train: PreparedSplit
    val: PreparedSplit
    classes: tuple[str, ...]
    positive: int
    format: PixelFormat
    cut: FeatureCut | None = None
    features_key: str = ""
    split_key: str = ""

    @property
    def reuse_tag(self) -> str:
        """A tag for the pixel format, the features and the re-split, part of the reuse key.

        The same files give other numbers in a data set that also has files of another depth or
        colour. A trial on features differs in its last bits from the same trial on images, and
        trials on different splits are different trials.
        """
        fmt = self.format
        parts = [f"{self.train.pixels.dtype.name} {fmt.channels} {fmt.low} {fmt.high}"]
        if self.train.features is not None:
            parts += [self.train.features.dtype.name, self.features_key]
        if self.split_key:
            parts.append(f"split {self.split_key}")
        return " ".join(parts)

    def with_features(
        self, cut: FeatureCut, train: Features, val: Features, key: str = ""
    ) -> "TrialData":
        """Return the same data with features for both splits."""
        return replace(
            self,
            train=replace(self.train, features=train),
            val=replace(self.val, features=val),
            cut=cut,
            features_key=key,
        )


def resplit_data(data: TrialData, train: Rows, val: Rows, key: str) -> TrialData:
    """Split the same images and features differently, without a copy.

    Args:
        data: the data in the study's own split.
        train, val: positions in its train split followed by its validation split.
        key: identifies the new split.
    """
    first, second = data.train, data.val
    labels = np.concatenate([first.labels, second.labels])

    def part(rows: Rows) -> PreparedSplit:
        pixels = RowView(base_array(first.pixels), base_array(second.pixels), rows)
        if first.features is None or second.features is None:
            return PreparedSplit(pixels, labels[rows])
        features = RowView(base_array(first.features), base_array(second.features), rows)
        return PreparedSplit(pixels, labels[rows], features)

    return replace(data, train=part(train), val=part(val), split_key=key)


def prepare_data(dataset: Dataset, geometry: Geometry) -> TrialData:
    """Read train and validation of `dataset` at one geometry."""
    train, val = dataset.train.at(geometry), dataset.val.at(geometry)
    return TrialData(
        train=PreparedSplit(train, dataset.train.labels),
        val=PreparedSplit(val, dataset.val.labels),
        classes=dataset.classes,
        positive=dataset.positive,
        format=PixelFormat.of(train),
    )
