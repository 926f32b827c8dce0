"""One image file to one array of whole numbers, or a refusal; nothing is reduced silently.

TIFF has a file of its own here. Pillow reads the rest, but for PNG of 16 bits: it would reduce
those in colour to 8 bits without a word, so imagecodecs decodes them.
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
_BIT_DEPTH, _COLOUR_TYPE = 24, 25  # where a PNG's header tells them, in bytes from the beginning
_PNG_COLOUR = 2  # the bit of colour in a PNG's colour type
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
def huge_images_refused() -> Iterator[None]:
    """Refuse images that Pillow merely warns of (89 million pixels and more).

    Set around a whole pass: setting it is not safe in several threads.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def read_header(data: bytes, name: str) -> Header:
    """The header of an image file; raises DataError for one that cannot be used."""
    if tiff.is_tiff(data):
        return tiff.read_header(data, name)
    with _opened(data, name) as image:
        if _is_deep(image, data):
            colour = bool(data[_COLOUR_TYPE] & _PNG_COLOUR)
            return Header(image.height, image.width, 16, colour)
        return Header(image.height, image.width, 8, colour=image.mode not in _GREY)


def decode(data: bytes, name: str) -> Pixels:
    """(H, W, 1) for a grey image, also one that is stored as colour; (H, W, 3) for colour.

    uint8 or uint16, 0 being black; signed 16-bit numbers are shifted by 32,768.
    """
    pixels = tiff.decode(data, name) if tiff.is_tiff(data) else _decode(data, name)
    if pixels.shape[2] == 1:
        return pixels
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return pixels[..., :1] if np.array_equal(red, green) and np.array_equal(green, blue) else pixels


def to_channels(pixels: Pixels, dtype: np.dtype[Any], channels: int) -> Pixels:
    """(H, W, C) in the dtype and channels of its set: 8-bit values times 257, grey repeated."""
    if pixels.dtype != dtype:
        pixels = pixels.astype(np.uint16) * np.uint16(257)
    return np.broadcast_to(pixels, (*pixels.shape[:2], channels))


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    try:
        with Image.open(BytesIO(data)) as image:
            _refuse_what_is_not_exact(image, data, name)
            yield image
    except _UNREADABLE as error:
        raise DataError(
            f"{name} cannot be read as an image ({_reason(error)})",
            "repair the file or take it out; `python -m tune_bio.audit` lists every such file",
        ) from error


def _reason(error: BaseException) -> str:
    return "no known format" if isinstance(error, UnidentifiedImageError) else str(error)


def _decode(data: bytes, name: str) -> Pixels:
    with _opened(data, name) as image:
        if not _is_deep(image, data):
            return _eight_bit(image)
        image.verify()  # the checksums: imagecodecs does not look at all of them
        return _sixteen_bit(data)


def _refuse_what_is_not_exact(image: Image.Image, data: bytes, name: str) -> None:
    frames = getattr(image, "n_frames", 1)
    if image.format == "PNG" and frames > 1:
        raise DataError(f"{name} holds {frames} images", "give one image a file")
    if not _is_deep(image, data) and image.mode not in _EIGHT_BIT:
        raise DataError(
            f"{name} holds values of Pillow's mode {image.mode}",
            "save it as 8 or 16 bit, or give arrays (.npy)",
        )


def _is_deep(image: Image.Image, data: bytes) -> bool:
    return image.format == "PNG" and data[_BIT_DEPTH] == 16


def _eight_bit(image: Image.Image) -> npt.NDArray[np.uint8]:
    pixels = np.asarray(image.convert("L" if image.mode in _GREY else "RGB"))
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _sixteen_bit(png: bytes) -> npt.NDArray[np.uint16]:
    pixels: npt.NDArray[np.uint16] = np.atleast_3d(imagecodecs.png_decode(png))
    return pixels[..., : 3 if png[_COLOUR_TYPE] & _PNG_COLOUR else 1]  # without alpha
