"""Decode an image file to an array of integers, or refuse it; no precision is lost silently.

`tiff.py` reads TIFF. Pillow reads the other formats except 16-bit PNG, which imagecodecs decodes:
Pillow would silently reduce 16-bit colour to 8 bits.
"""

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from tune_bio.datasets.decoding import tiff
from tune_bio.datasets.pixels import Header, Pixels
from tune_bio.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

_GREY = {"1", "L", "LA"}
_EIGHT_BIT = _GREY | {"P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
_BIT_DEPTH, _COLOUR_TYPE = 24, 25  # offsets in a PNG file, in bytes
_PNG_COLOUR = 2  # the colour flag in a PNG's colour type
_UNREADABLE = (
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    struct.error,
    imagecodecs.PngError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@contextmanager
def refuse_huge_images() -> Iterator[None]:
    """Raise an error for images that Pillow only warns about (more than 89 million pixels).

    Enter it once, around a whole pass: warning filters are not thread-safe.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def read_header(data: bytes, name: str) -> Header:
    """Read the header of an image file; raises DataError if the image cannot be used."""
    if tiff.is_tiff(data):
        return tiff.read_header(data, name)
    with _opened(data, name) as image:
        if _is_16_bit_png(image, data):
            colour = bool(data[_COLOUR_TYPE] & _PNG_COLOUR)
            return Header(image.height, image.width, 16, colour)
        return Header(image.height, image.width, 8, colour=image.mode not in _GREY)


def decode(data: bytes, name: str) -> Pixels:
    """Decode an image file to uint8 or uint16 with 0 as black.

    The shape is (H, W, 1) for grey images, even those stored as colour, and (H, W, 3) for colour.
    Signed 16-bit values are shifted by 32,768. Raises DataError if the image cannot be used.
    """
    pixels = tiff.decode(data, name) if tiff.is_tiff(data) else _decode(data, name)
    if pixels.shape[2] == 1:
        return pixels
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return pixels[..., :1] if np.array_equal(red, green) and np.array_equal(green, blue) else pixels


def to_channels(pixels: Pixels, dtype: np.dtype[Any], channels: int) -> Pixels:
    """Convert (H, W, C) to a dtype and channels: multiply 8-bit values by 257, repeat grey."""
    if pixels.dtype != dtype:
        pixels = pixels.astype(np.uint16) * np.uint16(257)
    return np.broadcast_to(pixels, (*pixels.shape[:2], channels))


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    try:
        with Image.open(BytesIO(data)) as image:
            _refuse_inexact(image, data, name)
            yield image
    except _UNREADABLE as error:
        raise DataError(
            f"{name} cannot be read as an image ({_reason(error)})",
            "repair or remove the file; `python -m tune_bio.audit` lists every such file",
        ) from error


def _reason(error: BaseException) -> str:
    return "unknown format" if isinstance(error, UnidentifiedImageError) else str(error)


def _decode(data: bytes, name: str) -> Pixels:
    with _opened(data, name) as image:
        if not _is_16_bit_png(image, data):
            return _decode_8_bit(image)
        image.verify()  # verifies the checksums, some of which imagecodecs ignores
        return _decode_16_bit(data)


def _refuse_inexact(image: Image.Image, data: bytes, name: str) -> None:
    frames = getattr(image, "n_frames", 1)
    if image.format == "PNG" and frames > 1:
        raise DataError(f"{name} holds {frames} images", "give one image per file")
    if not _is_16_bit_png(image, data) and image.mode not in _EIGHT_BIT:
        raise DataError(
            f"{name} has pixels of Pillow's mode {image.mode}",
            "save it as 8 or 16 bit, or give arrays (.npy)",
        )


def _is_16_bit_png(image: Image.Image, data: bytes) -> bool:
    return image.format == "PNG" and data[_BIT_DEPTH] == 16


def _decode_8_bit(image: Image.Image) -> npt.NDArray[np.uint8]:
    pixels = np.asarray(image.convert("L" if image.mode in _GREY else "RGB"))
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _decode_16_bit(png: bytes) -> npt.NDArray[np.uint16]:
    pixels: npt.NDArray[np.uint16] = np.atleast_3d(imagecodecs.png_decode(png))
    return pixels[..., : 3 if png[_COLOUR_TYPE] & _PNG_COLOUR else 1]  # drops alpha
