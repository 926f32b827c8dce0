"""TIFF: every layout, compression and colour type, and the files that are refused."""

import struct
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.data_factory import examples, is_one_line, outcome
from tests.datasets.source_factory import noise
from tests.datasets.tiff_factory import (
    BITS,
    DEEP,
    DEEP_RGB,
    EXACT,
    GREY,
    KIND,
    OFFSETS,
    PIXELS,
    RGB,
    SIZES,
    TILE_WIDTH,
    WIDTH,
    by_pillow,
    of_kind,
    pages,
    patched,
    tag_at,
    with_alpha,
    written,
)
from tune_bio.datasets.decoding.decode import decode, read_header, refuse_huge_images
from tune_bio.errors import DataError, InputError


@pytest.mark.parametrize(("data", "expected"), EXACT.values(), ids=EXACT)
def test_every_value_is_read_as_it_was_written(data: bytes, expected: Any) -> None:
    pixels = decode(data, "image")
    assert pixels.dtype == (np.uint16 if expected.dtype == np.uint16 else np.uint8)
    assert pixels.shape == (40, 50, expected.shape[2] if expected.ndim == 3 else 1)
    assert np.array_equal(pixels.squeeze(), expected)
    header = read_header(data, "image")
    assert (header.height, header.width, header.bits) == (40, 50, 8 * pixels.dtype.itemsize)
    assert header.colour == (pixels.shape[2] == 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_upright_as_in_pillow(orientation: int) -> None:
    data = of_kind(RGB, extratags=[(274, "H", 1, orientation, True)])
    header, pixels = read_header(data, "x"), decode(data, "x")
    with Image.open(BytesIO(data)) as image:
        assert np.array_equal(pixels, np.asarray(image.convert("RGB")))
    assert (header.height, header.width) == pixels.shape[:2]


@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"rowsperstrip": 16}])
@pytest.mark.parametrize("kind", ["grey", "colour"])
def test_jpeg_is_decoded_part_by_part(kind: str, options: dict[str, Any]) -> None:
    smooth = np.asarray(Image.fromarray(PIXELS[kind]).resize((50, 40)).reduce(8).resize((50, 40)))
    data = of_kind(smooth, compression="jpeg", compressionargs={"level": 99}, **options)
    pixels = decode(data, "x")
    assert pixels.shape == (40, 50, smooth.ndim if smooth.ndim == 3 else 1)
    assert np.abs(pixels.squeeze().astype(int) - smooth).max() < 24
    with Image.open(BytesIO(data)) as image:  # another decoder for the same standard
        assert np.abs(pixels.squeeze().astype(int) - np.asarray(image)).max() < 5


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_pillow_converts_colours_that_tifffile_does_not_convert(
    mode: str, compression: str | None
) -> None:
    image = Image.fromarray(RGB).convert(mode)
    pixels = decode(by_pillow(image, compression=compression), "x")
    difference = pixels.astype(int) - np.asarray(image.convert("RGB"))
    assert np.abs(difference).max() <= (mode == "YCbCr")  # converters round differently


STACK = noise(3, 40, 50, dtype=np.uint16)
JPEG = of_kind(GREY, compression="jpeg")


def jpeg_of_size(side: int) -> bytes:
    """A TIFF with a JPEG part whose size differs from that of its page."""
    with tifffile.TiffFile(BytesIO(JPEG)) as file:
        start = file.pages[0].dataoffsets[0]
    offset = JPEG.index(b"\xff\xc0", start) + 5
    return JPEG[:offset] + struct.pack(">HH", side, side) + JPEG[offset + 4 :]


def virtual_stack() -> bytes:
    """A large stack as written by ImageJ: one page, with the other images after its data."""
    description = "ImageJ=1.54f\nimages=3\nslices=3\n"
    return of_kind(DEEP, description=description, metadata=None) + STACK.tobytes()


def without_depth() -> bytes:
    data = of_kind(GREY)
    offset = tag_at(data, BITS)
    return data[:offset] + struct.pack("<H", 259) + data[offset + 2 :]


def next_page(offset: int) -> bytes:
    """A file with one page, at offset 8, which claims that another page follows at `offset`."""
    data = of_kind(GREY)
    (tags,) = struct.unpack_from("<H", data, 8)
    link = 10 + 12 * tags
    return data[:link] + struct.pack("<I", offset) + data[link + 4 :]


BAD: dict[str, tuple[bytes, str]] = {
    "stack": (pages(*STACK), "holds 3 images"),
    "ImageJ's stack": (written(STACK, imagej=True), "holds 3 images"),
    "ImageJ's virtual stack": (virtual_stack(), "holds 3 images"),
    "stack of one page": (
        written(STACK, truncate=True, photometric="minisblack"), "holds 3 images"),
    "volume": (
        written(noise(4, 32, 32), volumetric=True, tile=(2, 16, 16), photometric="minisblack"),
        "holds 4 images"),
    "pages of several sizes": (pages(GREY, GREY[::2]), "holds 2 images"),
    "only a thumbnail": (of_kind(GREY, subfiletype=1), "holds 0 images"),
    "floats": (of_kind(GREY.astype(np.float32)), "32-bit floating-point values: .*npy"),
    "32 bit": (of_kind(GREY.astype(np.int32)), "32-bit signed values: .*npy"),
    "signed 8 bit": (of_kind(GREY.astype(np.int8)), "8-bit signed values"),
    "6 bits": (of_kind(GREY >> 2, bitspersample=6), "6-bit values"),
    "complex": (of_kind(GREY.astype(np.complex64)), "64-bit complex values"),
    "16-bit CMYK": (
        written(with_alpha(DEEP_RGB), photometric="separated"), "16-bit SEPARATED colours"),
    "five channels": (
        written(noise(40, 50, 5), photometric="minisblack", planarconfig="contig"),
        "5 values per pixel"),
    "a fourth channel that is not alpha": (
        written(with_alpha(RGB), photometric="rgb", extrasamples=[0]), "4 values per pixel"),
    "CIELab": (written(RGB, photometric="cielab"), "3 values per pixel, .* colour type CIELAB"),
    "another compression": (of_kind(RGB, compression="webp"), "compressed as WEBP: .*LZW"),
    "cut in the data": (patched(of_kind(GREY), SIZES, 10**6), "parts of it are missing"),
    "a part nowhere": (patched(of_kind(GREY, rowsperstrip=9), OFFSETS, 0), "parts .* missing"),
    "too few parts": (patched(of_kind(GREY, rowsperstrip=9), 278, 3), "parts .* missing"),
    "cut JPEG": (patched(JPEG, SIZES, 700), "a part of it is damaged"),
    "JPEG of another size": (jpeg_of_size(256), "a part of it is damaged"),
    "no such page": (of_kind(GREY)[:-1], "cannot be read as an image"),
    "no depth": (without_depth(), "bit depth or colour type is missing"),
    "unknown colour type": (patched(of_kind(GREY), KIND, 99), "colour type 99"),
    "no palette": (patched(of_kind(GREY), KIND, 3), "its palette is damaged"),
    "no page": (b"II*\0" + struct.pack("<I", 0), "it is damaged"),
    "lost page": (b"II*\0" + struct.pack("<I", 10**6), "it is damaged"),
    "another page lost": (next_page(10**6), "it is damaged"),
    "pages in a circle": (next_page(8), "list of pages is damaged"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "message"), BAD.values(), ids=BAD)
def test_an_image_that_cannot_be_read_exactly_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=rf"scan\.tif .*{message}") as caught:
        read_header(data, "scan.tif"), decode(data, "scan.tif")
    assert is_one_line(caught.value)


CLAIMS = {
    "width": patched(of_kind(GREY), WIDTH, 2**31),
    "tiles": patched(of_kind(GREY, tile=(16, 16), compression="lzw"), TILE_WIDTH, 2**31),
    "JPEG": jpeg_of_size(65500),
}


@pytest.mark.parametrize("data", CLAIMS.values(), ids=CLAIMS)
def test_a_small_file_that_claims_to_be_huge_is_refused_before_memory_is_allocated(
    data: bytes,
) -> None:
    tracemalloc.start()
    try:
        error = outcome(lambda: (read_header(data, "x"), decode(data, "x")))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(error, DataError)
    assert peak < 2**24


def test_the_pixel_limit_is_that_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1999)
    with pytest.raises(DataError, match="its 2000 pixels exceed the limit of 1999 pixels"):
        read_header(of_kind(GREY), "huge")


def test_decoding_in_many_threads_gives_the_same_pixels() -> None:
    files = [data for data, _ in EXACT.values()] * 4
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda data: decode(data, "x"), files))
    for pixels, (_, expected) in zip(images, list(EXACT.values()) * 4, strict=True):
        assert np.array_equal(pixels.squeeze(), expected)


def test_warnings_of_tifffile_are_not_printed(tmp_path: Path) -> None:
    data = of_kind(GREY)
    offset = tag_at(data, 305) + 2
    (tmp_path / "odd.tif").write_bytes(data[:offset] + b"\x63" + data[offset + 1 :])  # unknown type
    script = (
        "import sys, pathlib; from tune_bio.datasets.decoding.decode import decode; "
        "print(decode(pathlib.Path(sys.argv[1]).read_bytes(), 'x').shape)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "odd.tif")]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (process.stdout.strip(), process.stderr) == ("(40, 50, 1)", "")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow warns before it fails
@examples
@given(
    data=st.sampled_from([data for data, _ in EXACT.values()] + [JPEG, virtual_stack()]),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=9),
    in_tags=st.booleans(),
)
def test_damaged_data_are_either_decoded_or_refused(
    data: bytes, keep: float, changes: list[tuple[float, int]], in_tags: bool
) -> None:
    damaged = bytearray(data)
    for position, value in changes:  # the tags of most files are in the first 250 bytes
        damaged[int(position * (250 if in_tags else len(data)))] = value
    damaged = damaged[: round(keep * len(damaged))]
    with refuse_huge_images():
        result = outcome(lambda: (read_header(bytes(damaged), "x"), decode(bytes(damaged), "x")))
    if not isinstance(result, InputError):
        header, pixels = result
        assert pixels.dtype == (np.uint16 if header.bits == 16 else np.uint8)
        assert pixels.shape[:2] == (header.height, header.width)
