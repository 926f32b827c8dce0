"""Small sources of every kind, for the contract that all sources satisfy."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from tune_bio.datasets.images import Dataset
from tune_bio.datasets.opening import open_arrays, open_dataset

Open = Callable[..., Dataset]
N = 20  # images per class; two per patient
SIDE = 12
CLASSES = ("a", "b")


def noise(*shape: int, dtype: Any = np.uint8, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def save(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels.ndim == 2 or pixels.dtype == np.uint8:
        Image.fromarray(pixels).save(path)
    elif path.suffix == ".png":  # Pillow cannot write 16-bit colour
        path.write_bytes(imagecodecs.png_encode(pixels))
    else:
        tifffile.imwrite(path, pixels, photometric="rgb")


def person(k: int, i: int) -> str:
    """Return a file name like those of the chest X-ray set, with two images per patient."""
    return f"person{100 * k + i // 2}_virus_{i}"


@dataclass(frozen=True)
class SourceCase:
    """A way to open a source, and the expected properties of the result."""

    open: Open
    classes: int = 2
    channels: int = 1
    dtype: str = "uint8"
    shape: tuple[int, int] | None = (SIDE, SIDE)
    patients_known: bool = True
    has_splits: bool = False  # the source itself has all three splits


def _opening(source: object, **fixed: Any) -> Open:
    return lambda **options: open_dataset(str(source), **{**fixed, **options})


def phantom(folder: Path) -> SourceCase:
    return SourceCase(_opening("phantom"), shape=(64, 64), has_splits=True)


def phantom_of_6(folder: Path) -> SourceCase:
    return SourceCase(_opening("phantom:6"), classes=6, shape=(64, 64), has_splits=True)


def phantom_shortcut(folder: Path) -> SourceCase:
    return SourceCase(_opening("phantom:shortcut"), shape=(64, 64), has_splits=True)


def npz(folder: Path) -> SourceCase:
    images = noise(60, SIDE, SIDE)
    np.savez(folder / "data.npz", train_images=images, train_labels=np.arange(60) % 3)
    return SourceCase(_opening(folder / "data.npz"), classes=3, patients_known=False)


def npz_16_bit(folder: Path) -> SourceCase:
    images = noise(60, SIDE, SIDE, 3, dtype=np.uint16)
    np.savez(folder / "data.npz", train_images=images, train_labels=np.arange(60) % 2)
    return SourceCase(
        _opening(folder / "data.npz"), channels=3, dtype="uint16", patients_known=False
    )


def npy(folder: Path) -> SourceCase:
    for k, name in enumerate(CLASSES):
        np.save(folder / f"{name}.npy", noise(N, SIDE, SIDE + 3, dtype=np.uint16, seed=k))
    return SourceCase(
        _opening(folder), dtype="uint16", shape=(SIDE, SIDE + 3), patients_known=False
    )  # fmt: skip


def _class_folders(
    folder: Path, suffix: str, dtype: Any = np.uint8, *channels: int, prefix: int = 0
) -> Path:
    for k, name in enumerate(CLASSES):
        for i in range(N):
            image = noise(SIDE, SIDE, *channels, dtype=dtype, seed=1000 * prefix + 100 * k + i)
            save(folder / name / f"{person(k + 10 * prefix, i)}.{suffix}", image)
    return folder


def class_folders(folder: Path) -> SourceCase:
    return SourceCase(_opening(_class_folders(folder, "png")))


def colour_folders(folder: Path) -> SourceCase:
    return SourceCase(_opening(_class_folders(folder, "png", np.uint8, 3)), channels=3)


def png_16_bit(folder: Path) -> SourceCase:
    return SourceCase(_opening(_class_folders(folder, "png", np.uint16)), dtype="uint16")


def tiff_16_bit(folder: Path) -> SourceCase:
    return SourceCase(_opening(_class_folders(folder, "tif", np.uint16)), dtype="uint16")


def png_16_bit_colour(folder: Path) -> SourceCase:
    return SourceCase(
        _opening(_class_folders(folder, "png", np.uint16, 3)), dtype="uint16", channels=3
    )


def tiff_16_bit_colour(folder: Path) -> SourceCase:
    return SourceCase(
        _opening(_class_folders(folder, "tif", np.uint16, 3)), dtype="uint16", channels=3
    )


def split_folders(folder: Path) -> SourceCase:
    for k, split in enumerate(("Train", "valid", "TEST")):
        _class_folders(folder / split, "png", prefix=k)
    return SourceCase(_opening(folder), has_splits=True)


def train_and_test_folders(folder: Path) -> SourceCase:
    for k, split in enumerate(("train", "test")):
        _class_folders(folder / split, "png", prefix=k)
    return SourceCase(_opening(folder))


def table(folder: Path) -> SourceCase:
    rows = ["file,patient,label,split,age"]
    for k, split in enumerate(("train", "val", "test")):
        for i in range(N):
            save(folder / "images" / f"{split}{i}.png", noise(SIDE, SIDE, seed=100 * k + i))
            rows.append(f"images/{split}{i}.png,p{k}-{i // 4},class{i // 4 % 2},{split},63")
    (folder / "metadata.csv").write_text("\n".join(rows))
    return SourceCase(_opening(folder), has_splits=True)


def pattern(folder: Path) -> SourceCase:
    for k, name in enumerate(CLASSES):
        for i in range(N):
            image = noise(SIDE, SIDE, seed=100 * k + i)
            save(folder / name / f"case-{100 * k + i // 2}" / f"{i}.png", image)
    return SourceCase(_opening(folder, patient_pattern=r"case-(\d+)"))


def mixed_colour(folder: Path) -> SourceCase:
    """Write grey images first, stored as grey and as colour, and colour images after them."""
    _class_folders(folder, "png")
    for i in range(N):
        image = noise(SIDE, SIDE, seed=500 + i)
        save(folder / "a" / f"{person(5, i)}.png", np.repeat(image[..., None], 3, axis=2))
        save(folder / "b" / f"{person(6, i)}.png", noise(SIDE, SIDE, 3, seed=600 + i))
    return SourceCase(_opening(folder), channels=3)


def mixed_sizes_and_depths(folder: Path) -> SourceCase:
    _class_folders(folder, "png")
    for i in range(N):
        image = noise(SIDE + i, 20, dtype=np.uint16, seed=500 + i)
        save(folder / "b" / f"{person(6, i)}.png", image)
    return SourceCase(_opening(folder), dtype="uint16", shape=None)


def arrays(folder: Path) -> SourceCase:
    images, labels = noise(40, SIDE, SIDE, 3), np.array(["ill", "well"])[np.arange(40) % 2]
    return SourceCase(
        lambda **options: open_arrays(images, labels, np.arange(40) // 4, **options), channels=3
    )


def arrays_in_splits(folder: Path) -> SourceCase:
    parts = {
        name: (noise(20, SIDE, SIDE, seed=k), np.arange(20) % 2 == 0)
        for k, name in enumerate(("train", "val", "test"))
    }
    return SourceCase(
        lambda **options: open_arrays(parts, **options), has_splits=True, patients_known=False
    )


KINDS: tuple[Callable[[Path], SourceCase], ...] = (
    phantom, phantom_of_6, phantom_shortcut, npz, npz_16_bit, npy, class_folders, colour_folders,
    png_16_bit, tiff_16_bit, png_16_bit_colour, tiff_16_bit_colour, split_folders,
    train_and_test_folders, table, pattern, mixed_colour, mixed_sizes_and_depths, arrays,
    arrays_in_splits,
)  # fmt: skip
FOLDERS = (
    npy, class_folders, colour_folders, png_16_bit, tiff_16_bit, png_16_bit_colour,
    tiff_16_bit_colour, split_folders, train_and_test_folders, table, pattern, mixed_colour,
    mixed_sizes_and_depths,
)  # fmt: skip
