"""`FILE.npz` in MedMNIST's layout: `train_images`, `train_labels`, `val_*`, `test_*`.

Images are (n, H, W) or (n, H, W, 3), uint8 or uint16; labels are (n,) or (n, 1), integers. The
layout has no patients, so each image counts as its own patient.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil

from tune_bio.datasets.pixels import Pixels
from tune_bio.datasets.sources.array_source import ArraySource, as_pixels
from tune_bio.datasets.sources.collection import Collection, OpenOptions, collect_images
from tune_bio.datasets.sources.patients import PatientNames
from tune_bio.errors import DataError

Arrays = dict[str, npt.NDArray[np.generic]]
Labels = npt.NDArray[np.int64]


def read_npz(path: Path, options: OpenOptions) -> Collection:
    """Read the images and labels of a file.

    Raises:
        DataError: arrays are missing or hold pickled objects, or a dtype, shape or label is not
            supported.
    """
    arrays = _load(path)
    present = [name for name in ("train", "val", "test") if f"{name}_images" in arrays]
    if "train" not in present:
        array_names = ", ".join(arrays) or "nothing"
        raise DataError(
            f"{path} has no train_images (it holds {array_names})",
            "use MedMNIST's names: train_images, train_labels, val_images, ...",
        )
    splits = {name: _split(path, arrays, name) for name in present}
    labels = {name: labels for name, (_, labels) in splits.items()}
    classes = _classes(path, labels)
    source = ArraySource([pixels for pixels, _ in splits.values()], present, options.cache_folder)
    names = [f"{name}/{i:06d}" for name in present for i in range(len(labels[name]))]
    return Collection(
        name=str(path),
        classes=classes,
        splits=collect_images(
            source,
            names,
            np.concatenate(list(labels.values())),
            PatientNames(tuple(names), known=False),
            [name.split("/")[0] for name in names],
        ),
    )


def _load(path: Path) -> Arrays:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(
            f"{path} is not an .npz file ({error})", "write it with numpy.savez_compressed"
        ) from error
    # Checked before anything is unpacked: a small file can unpack to any size.
    if size > psutil.virtual_memory().available:
        raise DataError(
            f"{path} unpacks to {size / 2**30:.1f} GiB, more than the free memory",
            "use fewer or smaller images, or a machine with more memory",
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except ValueError as error:
        pickled = "pickle" in str(error)
        fault = "holds pickled Python objects" if pickled else f"cannot be read ({error})"
        raise DataError(
            f"{path} {fault}", "save arrays of integers, since pickles can run any code"
        ) from error
    except (
        OSError,
        EOFError,
        RuntimeError,  # the member is encrypted, or its compression is not supported
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DataError(f"{path} is damaged ({error})", "copy the file again") from error


def _split(path: Path, arrays: Arrays, name: str) -> tuple[Pixels, Labels]:
    images, labels = arrays[f"{name}_images"], arrays.get(f"{name}_labels")
    if labels is None:
        raise DataError(f"{path} has {name}_images but no {name}_labels", "add the labels")
    pixels = as_pixels(images, f"{name}_images in {path}")
    labels = labels.reshape(-1) if labels.shape in ((len(images),), (len(images), 1)) else None
    if labels is None:
        raise DataError(
            f"{name}_labels in {path} do not fit its {len(images)} images",
            "give one label per image, (n,) or (n, 1)",
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{name}_labels in {path} are {labels.dtype}", "labels must be integers from 0"
        )
    return pixels, labels.astype(np.int64)


def _classes(path: Path, labels: dict[str, Labels]) -> tuple[str, ...]:
    count = int(labels["train"].max(initial=-1)) + 1
    for name, values in labels.items():
        outside = values[(values < 0) | (values >= count)]
        if len(outside):
            raise DataError(
                f"{name}_labels in {path} hold {int(outside[0])}, outside 0 to {count - 1}",
                "labels must count the classes of train from 0",
            )
    distinct = len(np.unique(labels["train"]))
    if distinct < count:
        raise DataError(
            f"train_labels in {path} go up to {count - 1} but hold only {distinct} classes",
            "number the classes of train from 0 without gaps",
        )
    return tuple(str(k) for k in range(count))
