"""Decoding a file to an array: every format and bit depth, and the files that are refused."""

import re
import struct
import warnings
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.data_factory import examples, is_one_line, outcome
from tune_bio.datasets.decoding.decode import decode, read_header, refuse_huge_images, to_channels
from tune_bio.errors import DataError, InputError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 9)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (12, 9, 3)).astype(np.uint8)
DEEP = RNG.integers(0, 65536, (12, 9)).astype(np.uint16)
DEEP_COLOUR = RNG.integers(0, 65536, (12, 9, 3)).astype(np.uint16)


def encoded(image: Any, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_16_bit(pixels: Any, colour_type: int) -> bytes:
    """Encode a 16-bit PNG with any number of channels; Pillow can only write grey."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = pixels.shape[:2]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def tiff(
    pixels: Any, *, white_is_zero: bool = False, sample_format: int = 1, order: str = "<"
) -> bytes:
    """Encode an uncompressed TIFF."""
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    height, width = pixels.shape[:2]
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    photometric = 2 if samples > 1 else int(not white_is_zero)
    bits = 8 * pixels.dtype.itemsize
    directory_offset = 8 + len(data)
    tags = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, samples, bits), (259, 3, 1, 1),
        (262, 3, 1, photometric), (273, 4, 1, 8), (277, 3, 1, samples), (278, 3, 1, height),
        (279, 4, 1, len(data)), (339, 3, 1, sample_format),
    ]  # fmt: skip
    tail_offset = directory_offset + 2 + 12 * len(tags) + 4
    directory = struct.pack(order + "H", len(tags))
    for tag, kind, count, value in tags:
        directory += struct.pack(order + "HHI", tag, kind, count)
        if count > 2:
            directory += struct.pack(order + "I", tail_offset)
        elif kind == 3:
            directory += struct.pack(order + "HH", value, 0)
        else:
            directory += struct.pack(order + "I", value)
    tail = b"\0" * 4 + struct.pack(order + f"{samples}H", *[bits] * samples)
    start = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, directory_offset)
    return start + data + directory + tail


def grey_as_colour(grey: Any) -> Any:
    return np.repeat(grey[..., None], 3, axis=2)


EXACT: dict[str, tuple[bytes, Any]] = {
    "grey png": (encoded(GREY, "png"), GREY),
    "colour png": (encoded(COLOUR, "png"), COLOUR),
    "grey bmp": (encoded(GREY, "bmp"), GREY),
    "colour bmp": (encoded(COLOUR, "bmp"), COLOUR),
    "grey as colour": (encoded(grey_as_colour(GREY), "png"), GREY),
    "palette": (encoded(Image.fromarray(GREY).convert("P"), "png"), GREY),
    "alpha": (encoded(Image.fromarray(COLOUR).convert("RGBA"), "png"), COLOUR),
    "grey tiff": (encoded(GREY, "tiff"), GREY),
    "colour tiff, lzw": (encoded(COLOUR, "tiff", compression="tiff_lzw"), COLOUR),
    "white is zero, 8 bit": (tiff(GREY, white_is_zero=True), 255 - GREY),
    "16-bit png": (encoded(DEEP, "png"), DEEP),
    "16-bit png, colour": (png_16_bit(DEEP_COLOUR, 2), DEEP_COLOUR),
    "16-bit png, colour and alpha": (png_16_bit(np.dstack([DEEP_COLOUR, DEEP]), 6), DEEP_COLOUR),
    "16-bit png, grey and alpha": (png_16_bit(np.dstack([DEEP, 1 + DEEP // 2]), 4), DEEP),
    "16-bit png, grey as colour": (png_16_bit(grey_as_colour(DEEP), 2), DEEP),
    "16-bit png, 12 bits": (encoded(DEEP & np.uint16(4095), "png"), DEEP & np.uint16(4095)),
    "16-bit tiff": (tiff(DEEP), DEEP),
    "16-bit tiff, colour": (tiff(DEEP_COLOUR), DEEP_COLOUR),
    "16-bit tiff, other byte order": (tiff(DEEP, order=">"), DEEP),
    "16-bit tiff, lzw": (encoded(DEEP, "tiff", compression="tiff_lzw"), DEEP),
    "16-bit tiff, deflate": (encoded(DEEP, "tiff", compression="tiff_adobe_deflate"), DEEP),
    "white is zero, 16 bit": (tiff(DEEP, white_is_zero=True), 65535 - DEEP),
    "signed 16 bit": (tiff((DEEP.astype(int) - 32768).astype(np.int16), sample_format=2), DEEP),
    "signed, other byte order": (
        tiff((DEEP.astype(int) - 32768).astype(np.int16), sample_format=2, order=">"), DEEP),
}  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), EXACT.values(), ids=EXACT)
def test_every_value_is_read_exactly(data: bytes, expected: Any) -> None:
    pixels = decode(data, "image")
    assert pixels.dtype == expected.dtype
    assert np.array_equal(pixels.squeeze(), expected)
    assert pixels.ndim == 3
    header = read_header(data, "image")
    assert (header.height, header.width) == expected.shape[:2]
    assert header.bits == 8 * expected.dtype.itemsize
    assert header.colour or pixels.shape[2] == 1


@pytest.mark.parametrize("array", [GREY, COLOUR])
def test_a_jpeg_is_read_as_pillow_reads_it(array: Any) -> None:
    data = encoded(array, "jpeg")
    assert np.array_equal(decode(data, "x").squeeze(), np.asarray(Image.open(BytesIO(data))))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_8_bit_mode_is_read(mode: str) -> None:
    data = encoded(Image.fromarray(COLOUR).convert(mode), "tiff" if mode == "CMYK" else "png")
    assert decode(data, "image").shape == (12, 9, 1 if mode in ("1", "L", "LA") else 3)


def pages() -> bytes:
    page = Image.fromarray(GREY)
    return encoded(page, "tiff", save_all=True, append_images=[page])


def changed(data: bytes, position: int) -> bytes:
    content = bytearray(data)
    content[position] ^= 1
    return bytes(content)


BAD: dict[str, tuple[bytes, str]] = {
    "text": (b"this is text", "cannot be read as an image"),
    "nothing": (b"", "cannot be read as an image"),
    "truncated": (encoded(COLOUR.repeat(9, axis=0), "jpeg")[:900], "cannot be read.*truncated"),
    "pages": (pages(), "holds 2 images"),
    "floats": (tiff(DEEP.astype(np.float32), sample_format=3), "32-bit"),
    "32 bit": (tiff(DEEP.astype(np.uint32)), "32-bit"),
    "signed 8 bit": (tiff(GREY.astype(np.int8), sample_format=2), "8-bit signed"),
    "16-bit png, cut": (encoded(DEEP, "png")[:100], "cannot be read"),
    "16-bit png, changed": (changed(png_16_bit(DEEP_COLOUR, 2), -18), "cannot be read.*broken"),
    "another format": (encoded(DEEP, "ppm"), "Pillow's mode I.*npy"),
}


@pytest.mark.parametrize(("data", "message"), BAD.values(), ids=BAD)
def test_an_image_that_cannot_be_read_exactly_is_refused(data: bytes, message: str) -> None:
    error = outcome(lambda: (read_header(data, "scan.x"), decode(data, "scan.x")))
    assert isinstance(error, DataError)
    assert re.search(rf"scan\.x .*{message}", str(error))


@pytest.mark.parametrize("limit", [100, 50])  # Pillow warns above the limit, raises above twice it
def test_a_huge_image_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    filters = list(warnings.filters)
    with pytest.raises(DataError, match="108 pixels") as caught, refuse_huge_images():
        read_header(encoded(GREY, "png"), "huge")
    assert is_one_line(caught.value)
    assert list(warnings.filters) == filters


def test_8_bit_images_among_16_bit_ones_keep_black_and_white() -> None:
    pixels = np.array([[[0], [1], [255]]], np.uint8)
    converted = to_channels(pixels, np.dtype(np.uint16), 3)
    assert converted.shape == (1, 3, 3)
    assert converted[0, :, 2].tolist() == [0, 257, 65535]
    assert np.array_equal(to_channels(pixels, np.dtype(np.uint8), 1), pixels)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow warns before it fails
@examples
@given(
    data=st.sampled_from([data for data, _ in EXACT.values()] + [pages()]),
    keep=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
)
def test_damaged_data_are_either_decoded_or_refused(
    data: bytes, keep: float, changes: list[tuple[float, int]]
) -> None:
    damaged = bytearray(data)
    for position, value in changes:
        damaged[int(position * len(damaged))] = value
    damaged = damaged[: round(keep * len(damaged))]
    with refuse_huge_images():
        result = outcome(lambda: (read_header(bytes(damaged), "x"), decode(bytes(damaged), "x")))
    if isinstance(result, InputError):
        assert "x" in str(result)
    else:
        header, pixels = result
        assert pixels.dtype in (np.uint8, np.uint16)
        assert pixels.shape[:2] == (header.height, header.width)
