"""What tells an image from others: a hash of its pixels, and a hash of how it looks.

Both are of the image as it is decoded at one geometry, from the cache where a search has put it,
so that copies in files of other formats and sizes are seen; and so that a model cannot tell apart
what equals here. They are kept in the cache by the content of the source.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from tune_bio.datasets.cache import arrays
from tune_bio.datasets.decoding.parallel import Progress, map_in_order
from tune_bio.datasets.decoding.versions import pixel_versions
from tune_bio.datasets.images import Images, PixelSource
from tune_bio.datasets.pixels import Pixels, Rows
from tune_bio.datasets.transforms.geometry import Geometry

HASH_SIDE = 16  # frequencies each way: 256 bits; near.py says why
_FREQUENCIES = 4  # times the side: the image is looked at in 64 x 64 px
_WORDS = HASH_SIDE**2 // 64
_VERSION = f"1 {HASH_SIDE} {_FREQUENCIES}"  # raise it with every change of what a mark is
_SHAPE, _DTYPE = (4 + _WORDS + 1,), np.dtype("<u8")

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class ImageHashes:
    """The marks of n images.

    pixels: (n, 4) uint64, the SHA-256 of the pixels.
    looks: (n, 4) uint64, the perceptual hash, 256 bits (Zauner 2010, "Implementation and
        benchmarking of perceptual image hash functions": signs of the lowest frequencies of the
        discrete cosine transform about their median), as imagehash computes it.
    constant: (n,) whether all pixels are equal.
    """

    pixels: Words
    looks: Words
    constant: npt.NDArray[np.bool_]


def hash_images(splits: Sequence[Images], geometry: Geometry, progress: Progress) -> ImageHashes:
    """The marks of all splits' images, one after another; from the cache where they are kept.

    Raises:
        DataError: a file changed or vanished; the cache cannot be written.
    """
    found = np.empty((sum(map(len, splits)), *_SHAPE), dtype=_DTYPE)
    rows = np.concatenate([images.rows for images in splits])
    owners = np.repeat([id(images.source) for images in splits], [len(each) for each in splits])
    for source in {id(images.source): images.source for images in splits}.values():
        where = owners == id(source)
        # In the order of the source, so that the same marks serve whatever the split.
        order, back = np.unique(rows[where], return_inverse=True)
        found[where] = _kept(source, order, geometry, progress)[back]
    return ImageHashes(found[:, :4], found[:, 4 : 4 + _WORDS], found[:, -1].astype(np.bool_))


def _kept(source: PixelSource, rows: Rows, geometry: Geometry, progress: Progress) -> Words:
    versions = [_VERSION, imagehash.__version__, *pixel_versions()]
    content = [*versions, asdict(geometry), source.digest(rows)]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    path, shape = source.cache_folder / "audits" / f"{key}.npy", (len(rows), *_SHAPE)
    kept = arrays.load_cached(path, shape, _DTYPE)
    if kept is not None:
        return kept
    marks = np.empty(shape, dtype=_DTYPE)
    done = 0
    for chunk in source.transformed(rows, geometry):
        for k, mark in enumerate(map_in_order(_mark, list(chunk))):
            marks[done + k] = mark
        done += len(chunk)
        progress(done, len(rows))
    with arrays.writing_array(path, shape, _DTYPE) as write:
        write(marks)
    return marks


def _mark(pixels: Pixels) -> Words:
    """The marks of one image, (S, S, C)."""
    sha256 = hashlib.sha256(np.ascontiguousarray(pixels).data).digest()
    looks = imagehash.phash(_picture(pixels), HASH_SIDE, _FREQUENCIES).hash
    constant = bool((pixels == pixels[0, 0]).all())
    bits = np.packbits(looks.ravel()).tobytes()
    return np.array(
        [*np.frombuffer(sha256, _DTYPE), *np.frombuffer(bits, _DTYPE), constant], dtype=_DTYPE
    )


def _picture(pixels: Pixels) -> Image.Image:
    """As 8 bits; 16 are scaled by the image's own range, which its looks do not depend on."""
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = np.round((pixels - low) * (255 / max(high - low, 1))).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
