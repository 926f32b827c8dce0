"""A folder with one folder a class: PNG, JPEG, BMP and 8-bit TIFF, decoded in parallel."""

import re
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from tune_bio.datasets.images import Images, Pixels
from tune_bio.errors import DataError, NotBuiltError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SPLIT_NAMES = {"train", "val", "valid", "validation", "test"}
EIGHT_BIT = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
GREY = {"1", "L", "LA"}

# The naming of the paediatric chest X-ray set (Kermany 2018). The number alone is the patient:
# the same number may name another child among "bacteria" and "virus", and one group too large
# is safe where one too small would leak.
_CHEST_XRAY = re.compile(r"(person\d+)_(?:bacteria|virus)_|((?:NORMAL2-)?IM-\d+)-")


@dataclass(frozen=True)
class FolderImages:
    """What a folder holds, before any split."""

    images: Images
    classes: tuple[str, ...]
    patients_known: bool
    notes: tuple[str, ...]


def read_folder(
    folder: Path, decode_size: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> FolderImages:
    """Decode every image below `folder`'s class folders.

    Args:
        folder: holds one folder a class; the sorted names are the classes.
        decode_size: side in pixels to which images are resized where their sizes differ.
        progress: called with (decoded so far, all).

    Raises:
        DataError: fewer than two classes, an empty class, an image that cannot be read.
    """
    files, ignored = _list_files(folder)
    names = tuple(sorted(files))
    paths = [path for name in names for path in files[name]]
    labels = np.array([k for k, name in enumerate(names) for _ in files[name]], dtype=np.int64)
    pixels, notes = _decode_all(paths, decode_size, progress)
    patients, known = _patients(folder, paths)
    relative = np.array([path.relative_to(folder).as_posix() for path in paths], dtype=np.str_)
    unnamed = len(set(patients) & set(relative.tolist())) if known else 0
    if unnamed:
        notes.append(f"{unnamed} file names carry no patient; each counts as a patient of its own")
    if ignored:
        notes.append(f"{ignored} files that are no images were left out")
    images = Images(pixels, labels, np.array(patients, dtype=np.str_), relative)
    return FolderImages(images, names, known, tuple(notes))


def _list_files(folder: Path) -> tuple[dict[str, list[Path]], int]:
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    folders = [path for path in entries if path.is_dir()]
    _refuse_other_layouts(folder, entries, folders)
    files: dict[str, list[Path]] = {}
    ignored = 0
    for class_folder in folders:
        inside = sorted(p for p in class_folder.rglob("*") if p.is_file() and p.name[0] != ".")
        files[class_folder.name] = [p for p in inside if p.suffix.lower() in SUFFIXES]
        ignored += len(inside) - len(files[class_folder.name])
    for name, listed in files.items():
        if not listed:
            raise DataError(
                f"the class folder {folder / name} holds no image",
                f"images end in {', '.join(SUFFIXES)}; add some, or remove the folder",
            )
    return files, ignored


def _refuse_other_layouts(folder: Path, entries: list[Path], folders: list[Path]) -> None:
    if not entries:
        raise DataError(f"{folder} is empty", "give a folder that holds one folder a class")
    if any(path.suffix == ".npy" for path in entries):
        raise NotBuiltError(
            f"{folder} holds one .npy a class, which is not built yet", "use class folders or .npz"
        )
    if any(path.name.lower() in SPLIT_NAMES for path in folders):
        raise NotBuiltError(
            f"{folder} holds train/val/test folders, which is not built yet",
            "give one folder of class folders: it is split by patient",
        )
    if len(folders) < 2:
        found = f"one class, {folders[0].name!r}" if folders else "no class folder"
        raise DataError(
            f"{folder} holds {found}", "a classifier needs two or more folders, one a class"
        )


def _decode_all(
    paths: list[Path], decode_size: int, progress: Callable[[int, int], None]
) -> tuple[Pixels, list[str]]:
    decoded: list[Pixels] = []
    # Pillow decodes outside the interpreter's lock, so threads help. Images that Pillow merely
    # warns of (89 million pixels and more) are refused; the filter is set here, once, because
    # setting it is not safe in several threads.
    with ThreadPoolExecutor() as pool, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for pixels in pool.map(_decode, paths):
            decoded.append(pixels)
            progress(len(decoded), len(paths))
    notes: list[str] = []
    sizes = {pixels.shape[:2] for pixels in decoded}
    if len(sizes) > 1:
        notes.append(f"{len(sizes)} image sizes, resized to {decode_size}x{decode_size} px")
        decoded = [_resize(pixels, decode_size) for pixels in decoded]
    if any(pixels.shape[2] == 3 for pixels in decoded):
        decoded = [np.broadcast_to(pixels, (*pixels.shape[:2], 3)) for pixels in decoded]
    return np.stack(decoded), notes


def _decode(path: Path) -> Pixels:
    """(H, W, 1) for a grey image, also one that is stored as RGB; (H, W, 3) for colour."""
    try:
        with Image.open(path) as image:
            if image.mode not in EIGHT_BIT:
                raise NotBuiltError(
                    f"{path} has the pixel mode {image.mode}, which is not built yet",
                    "this version reads 8-bit images; convert it",
                )
            pixels = np.asarray(image.convert("L" if image.mode in GREY else "RGB"))
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        reason = str(error).replace(f" {str(path)!r}", "")
        raise DataError(
            f"{path} cannot be read as an image ({reason})", "repair the file or take it out"
        ) from error
    if pixels.ndim == 2:
        return pixels[..., np.newaxis]
    grey = bool(
        (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    )
    return pixels[..., :1] if grey else pixels


def _resize(pixels: Pixels, size: int) -> Pixels:
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    resized = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    return resized.reshape(size, size, pixels.shape[2])


def _patients(folder: Path, paths: list[Path]) -> tuple[list[str], bool]:
    """Each image's patient, where the names tell; a name that does not is a patient of its own."""
    matches = [_CHEST_XRAY.match(path.stem) for path in paths]
    if sum(map(bool, matches)) < len(paths) / 2:  # another set, a few names of which look alike
        return [path.relative_to(folder).as_posix() for path in paths], False
    patients = [
        (match.group(1) or match.group(2)) if match else path.relative_to(folder).as_posix()
        for match, path in zip(matches, paths, strict=True)
    ]
    return patients, True
