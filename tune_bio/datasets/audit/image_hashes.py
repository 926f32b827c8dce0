"""Compute two hashes of each image: one of its pixels and one of its appearance.

Both are computed from the image decoded at one geometry, taken from the cache if a search has put
it there. Copies in files of other formats and sizes are therefore found, and a model cannot
distinguish images that are equal here. The hashes are cached by the content of the source.
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

HASH_SIDE = 16  # frequencies along each axis: 256 bits; near_copies.py gives the reason
_SCALE = 4  # the image is reduced to HASH_SIDE * _SCALE = 64 px square before hashing
_WORDS = HASH_SIDE**2 // 64
_VERSION = f"1 {HASH_SIDE} {_SCALE}"  # increase it when the hashes change
_SHAPE, _DTYPE = (4 + _WORDS + 1,), np.dtype("<u8")

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class ImageHashes:
    """The hashes of n images.

    pixels: (n, 4) uint64, the SHA-256 of the pixels.
    perceptual: (n, 4) uint64, the perceptual hash, 256 bits (Zauner 2010, "Implementation and
        benchmarking of perceptual image hash functions": signs of the lowest frequencies of the
        discrete cosine transform about their median), as imagehash computes it.
    constant: (n,) True if all pixels of the image are equal.
    """

    pixels: Words
    perceptual: Words
    constant: npt.NDArray[np.bool_]


def hash_images(splits: Sequence[Images], geometry: Geometry, progress: Progress) -> ImageHashes:
    """Hash the images of all splits, in their order, or load the hashes from the cache.

    Raises:
        DataError: a file changed or vanished; the cache cannot be written.
    """
    hashes = np.empty((sum(map(len, splits)), *_SHAPE), dtype=_DTYPE)
    rows = np.concatenate([images.rows for images in splits])
    owners = np.repeat([id(images.source) for images in splits], [len(images) for images in splits])
    for source in {id(images.source): images.source for images in splits}.values():
        mask = owners == id(source)
        # In the order of the source, so that the cached hashes serve any split.
        order, inverse = np.unique(rows[mask], return_inverse=True)
        hashes[mask] = _cached_hashes(source, order, geometry, progress)[inverse]
    return ImageHashes(hashes[:, :4], hashes[:, 4 : 4 + _WORDS], hashes[:, -1].astype(np.bool_))


def _cached_hashes(
    source: PixelSource, rows: Rows, geometry: Geometry, progress: Progress
) -> Words:
    versions = [_VERSION, imagehash.__version__, *pixel_versions()]
    content = [*versions, asdict(geometry), source.digest(rows)]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    path, shape = source.cache_folder / "audits" / f"{key}.npy", (len(rows), *_SHAPE)
    cached = arrays.load_cached(path, shape, _DTYPE)
    if cached is not None:
        return cached
    hashes = np.empty(shape, dtype=_DTYPE)
    done = 0
    for chunk in source.transformed(rows, geometry):
        for k, image_hashes in enumerate(map_in_order(_hash_image, list(chunk))):
            hashes[done + k] = image_hashes
        done += len(chunk)
        progress(done, len(rows))
    with arrays.writing_array(path, shape, _DTYPE) as write:
        write(hashes)
    return hashes


def _hash_image(pixels: Pixels) -> Words:
    """Compute both hashes of one image, (S, S, C), and whether it is constant."""
    sha256 = hashlib.sha256(np.ascontiguousarray(pixels).data).digest()
    perceptual = imagehash.phash(_to_pillow(pixels), HASH_SIDE, _SCALE).hash
    constant = bool((pixels == pixels[0, 0]).all())
    bits = np.packbits(perceptual.ravel()).tobytes()
    return np.array(
        [*np.frombuffer(sha256, _DTYPE), *np.frombuffer(bits, _DTYPE), constant], dtype=_DTYPE
    )


def _to_pillow(pixels: Pixels) -> Image.Image:
    """Convert to 8 bits; 16 bits are scaled by the image's range, which keeps its appearance."""
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = np.round((pixels - low) * (255 / max(high - low, 1))).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
