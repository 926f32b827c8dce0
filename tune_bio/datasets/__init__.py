"""Sources of images; `open_dataset` is the face."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tune_bio.datasets import splits
from tune_bio.datasets.folder import read_folder
from tune_bio.datasets.images import Dataset, Images, as_pixels
from tune_bio.datasets.npz import read_npz
from tune_bio.datasets.phantom import CLASSES, make_phantom
from tune_bio.errors import DataError, NotBuiltError

__all__ = ["Dataset", "Images", "open_dataset", "phantom_dataset"]

UNKNOWN_PATIENTS = (
    "patients cannot be told from this source: images of one patient may stand in two splits, "
    "and every interval may be too narrow"
)


def open_dataset(
    source: str,
    *,
    seed: int = 0,
    decode_size: int = 224,
    positive_class: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Dataset:
    """Read a source into memory and split it by patient.

    Args:
        source: `phantom`, or the path of a MedMNIST-layout .npz or a folder of class folders.
        seed: of the split, where the source gives none.
        decode_size: side in pixels for folders whose images differ in size.
        positive_class: name of the positive class; the last by default.
        progress: called with (images decoded, all) while a folder is read.

    Raises:
        DataError: the source does not exist or cannot be used.
    """
    dataset = _read(source, seed, decode_size, progress)
    if len(dataset.classes) < 2:
        raise DataError(f"{source} holds one class", "a classifier needs two or more")
    shapes = {split.pixels.shape[1:] for split in dataset.splits.values()}
    if len(shapes) > 1:
        raise DataError(
            f"the splits of {source} differ in image shape: {shapes}", "make them equal"
        )
    return _with_positive(dataset, positive_class)


def _read(
    source: str, seed: int, decode_size: int, progress: Callable[[int, int], None]
) -> Dataset:
    if source == "phantom":
        return phantom_dataset()
    if source.startswith("phantom:"):
        raise NotBuiltError(f"the source {source!r} is not built yet", "use 'phantom'")
    path = Path(source).expanduser().resolve()
    if path.is_dir():
        return _folder(path, seed, decode_size, progress)
    if path.suffix == ".npz" and path.is_file():
        return _npz(path, seed)
    fault = "is neither a folder nor an .npz file" if path.exists() else "does not exist"
    raise DataError(
        f"the data source {source!r} {fault}",
        "give 'phantom', a MedMNIST-layout .npz, or a folder with one folder a class",
    )


def phantom_dataset(seed: int = 0) -> Dataset:
    """The embedded synthetic data; studies use seed 0, so that their results can be compared."""
    parts = {
        name: Images(as_pixels(part.pixels), part.labels, part.patients, part.names)
        for name, part in make_phantom(seed).items()
    }
    return Dataset(
        source="phantom",
        classes=CLASSES,
        positive=len(CLASSES) - 1,
        **parts,
        split="made apart, patient by patient",
        patients_known=True,
        synthetic=True,
        notes=("synthetic data, made by tune_bio: no result on them says anything about patients",),
    )


def _npz(path: Path, seed: int) -> Dataset:
    parts, classes = read_npz(path)
    made = splits.complete(parts["train"], parts.get("val"), parts.get("test"), classes, seed)
    return _dataset(path, classes, made, known=False, notes=())


def _folder(
    path: Path, seed: int, decode_size: int, progress: Callable[[int, int], None]
) -> Dataset:
    found = read_folder(path, decode_size, progress)
    made = splits.complete(found.images, None, None, found.classes, seed)
    return _dataset(path, found.classes, made, known=found.patients_known, notes=found.notes)


def _dataset(
    path: Path,
    classes: tuple[str, ...],
    made: splits.Splits,
    *,
    known: bool,
    notes: tuple[str, ...],
) -> Dataset:
    return Dataset(
        source=str(path),
        classes=classes,
        positive=len(classes) - 1,
        train=made.train,
        val=made.val,
        test=made.test,
        split=made.origin,
        patients_known=known,
        notes=notes if known else (*notes, UNKNOWN_PATIENTS),
    )


def _with_positive(dataset: Dataset, name: str | None) -> Dataset:
    if name is None:
        return dataset
    if name not in dataset.classes:
        raise DataError(
            f"--positive-class {name!r} is no class of {dataset.source}",
            f"the classes are {', '.join(dataset.classes)}",
        )
    return replace(dataset, positive=dataset.classes.index(name))
