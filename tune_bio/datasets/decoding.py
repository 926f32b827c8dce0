"""One image file to one array of whole numbers, or a refusal; nothing is reduced silently.

Pillow reads 8-bit files of every kind and 16-bit grey ones. It would reduce 16-bit colour to 8
bits without a word, so that is refused.
"""

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from tune_bio.datasets.pixels import Pixels
from tune_bio.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
DECODER_VERSION = "1"  # raise it with every change of what a file is decoded to

_GREY = {"1", "L", "LA"}
_EIGHT_BIT = _GREY | {"P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
_SIXTEEN_BIT = {"I;16", "I;16B", "I;16L"}
_ONE_VALUE = _GREY | _SIXTEEN_BIT | {"I"}
_WHITE_IS_ZERO, _SIGNED = 0, 2  # TIFF's PhotometricInterpretation and SampleFormat
_PNG_BIT_DEPTH = 24  # where a PNG's header tells it, in bytes from the beginning
_UNREADABLE = (
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@dataclass(frozen=True)
class Header:
    """What a file tells before it is decoded: size in pixels, bits a value (8 or 16), colour."""

    height: int
    width: int
    bits: int
    colour: bool


@contextmanager
def refusing_huge_images() -> Iterator[None]:
    """Refuse images that Pillow merely warns of (89 million pixels and more).

    Set around a whole pass: setting it is not safe in several threads.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def read_header(data: bytes, name: str) -> Header:
    """The header of an image file; raises DataError for one that cannot be used."""
    with _opened(data, name) as image:
        bits = _bits(image, data, name)
        return Header(image.height, image.width, bits, colour=image.mode not in _ONE_VALUE)


def decode(data: bytes, name: str) -> Pixels:
    """(H, W, 1) for a grey image, also one that is stored as colour; (H, W, 3) for colour.

    uint8 or uint16, 0 being black; signed 16-bit numbers are shifted by 32,768.
    """
    with _opened(data, name) as image:
        sixteen = _bits(image, data, name) == 16
        pixels = _sixteen_bit(image) if sixteen else _eight_bit(image)
    if pixels.ndim == 2:
        return pixels[..., np.newaxis]
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return pixels[..., :1] if np.array_equal(red, green) and np.array_equal(green, blue) else pixels


def widened(pixels: Pixels, dtype: np.dtype[Any], channels: int) -> Pixels:
    """(H, W, C) in the dtype and channels of its set: 8-bit values times 257, grey repeated."""
    if pixels.dtype != dtype:
        pixels = pixels.astype(np.uint16) * np.uint16(257)
    return np.broadcast_to(pixels, (*pixels.shape[:2], channels))


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    try:
        with Image.open(BytesIO(data)) as image:
            yield image
    except _UNREADABLE as error:
        raise DataError(
            f"{name} cannot be read as an image ({_reason(error)})",
            "repair the file or take it out",
        ) from error


def _reason(error: BaseException) -> str:
    return "no known format" if isinstance(error, UnidentifiedImageError) else str(error)


def _bits(image: Image.Image, data: bytes, name: str) -> int:
    """8 or 16; raises DataError for what is neither."""
    if image.format in ("TIFF", "PNG") and getattr(image, "n_frames", 1) > 1:
        raise DataError(f"{name} holds {image.n_frames} images", "give one image a file")  # type: ignore[attr-defined]
    stored = _stored_bits(image, data)
    signed = image.format == "TIFF" and _SIGNED in _tag(image, "SampleFormat", (1,))
    if image.mode in _EIGHT_BIT and stored <= 8 and not signed:
        return 8
    if image.mode in _SIXTEEN_BIT or (image.mode == "I" and signed and stored == 16):
        return 16
    kind = f"{stored}-bit {'signed ' if signed else ''}values of Pillow's mode {image.mode}"
    raise DataError(
        f"{name} holds {kind}",
        "save it as 8 bit or as 16-bit grey, or give arrays (.npy)",
    )


def _stored_bits(image: Image.Image, data: bytes) -> int:
    if image.format == "PNG":
        return data[_PNG_BIT_DEPTH]
    if image.format == "TIFF":
        return max(_tag(image, "BitsPerSample", (1,)))
    return 8


def _tag(image: Any, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    number = {"BitsPerSample": 258, "PhotometricInterpretation": 262, "SampleFormat": 339}[name]
    value = image.tag_v2.get(number, default)
    return value if isinstance(value, tuple) else (value,)


def _eight_bit(image: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(image.convert("L" if image.mode in _GREY else "RGB"))


def _sixteen_bit(image: Image.Image) -> npt.NDArray[np.uint16]:
    values = np.asarray(image)
    pixels = (values + 2**15 if image.mode == "I" else values).astype(np.uint16)
    if image.format == "TIFF" and _WHITE_IS_ZERO in _tag(image, "PhotometricInterpretation", (1,)):
        return np.uint16(2**16 - 1) - pixels
    return pixels
