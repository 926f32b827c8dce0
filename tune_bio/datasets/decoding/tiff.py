"""Decode TIFF files with one grey or colour image of up to 16 bits per value, exactly.

tifffile reads the structure, and imagecodecs decompresses. Both tolerate some damage and return
black or grey for missing data, so this module checks for missing parts.
"""

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from math import prod

import numpy as np
import numpy.typing as npt
from PIL import Image
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, SAMPLEFORMAT, TiffFile, TiffPage

from tune_bio.datasets.pixels import Header, Pixels
from tune_bio.errors import DataError

# tifffile logs a warning for every anomaly; without a handler, Python would print it.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# Their output cannot exceed the size of the page; other formats contain their own image size.
_COMPRESSIONS = {
    COMPRESSION.NONE,
    COMPRESSION.LZW,
    COMPRESSION.JPEG,
    COMPRESSION.ADOBE_DEFLATE,
    COMPRESSION.DEFLATE,
    COMPRESSION.PACKBITS,
    COMPRESSION.ZSTD,
}
_VALUES = {  # per pixel, by photometric interpretation
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.YCBCR: 3,
    PHOTOMETRIC.SEPARATED: 4,
}
_COLOURLESS = {PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK}
_ALPHA = {EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA}
_NUMBERS = {2: "signed ", 3: "floating-point ", 5: "complex ", 6: "complex "}
_BITS = {1, 2, 4, *range(8, 17)}
_REQUIRED = (256, 257, 262)  # tags: width, height, photometric interpretation
_BITS_PER_SAMPLE, _ORIENTATION, _COLOUR_MAP, _METAMORPH_PLANES = 258, 274, 320, 33629  # tags
_TRANSPOSED = (5, 6, 7, 8)  # orientations with width and height exchanged
_END_OF_JPEG = b"\xff\xd9"


def is_tiff(data: bytes) -> bool:
    """Return True if the data start with the signature of a TIFF."""
    return data[:2] in (b"II", b"MM")


def read_header(data: bytes, name: str) -> Header:
    """Read the header of a TIFF; raises DataError if the image cannot be used."""
    with _page(data, name) as page:
        height, width = page.imagelength, page.imagewidth
        if _orientation(page) in _TRANSPOSED:
            height, width = width, height
        return Header(height, width, _bits(page), colour=page.photometric not in _COLOURLESS)


def decode(data: bytes, name: str) -> Pixels:
    """Decode to (H, W, 1) or (H, W, 3) with 0 as black; signed values are shifted by 32,768."""
    with _page(data, name) as page:
        if _is_for_pillow(page):
            return _decode_with_pillow(data)
        _refuse_missing_parts(page, data)
        stored = page.asarray(squeeze=False, maxworkers=1)[:, 0]  # depth is 1
        # The values of a pixel are stored together, or each channel in a separate plane.
        values = stored.transpose(1, 2, 0, 3).reshape(*stored.shape[1:3], -1)
        return _upright(_to_pixels(page, values), _orientation(page))


@contextmanager
def _page(data: bytes, name: str) -> Iterator[TiffPage]:
    """Open the only page of a file; raises DataError unless it can be read exactly."""
    try:
        with TiffFile(BytesIO(data)) as file:
            page = _only_page(file, data, name)
            _refuse_sizes(page)
            _refuse_inexact(page, name)
            yield page
    except DataError:
        raise
    except Exception as error:  # tifffile and the codecs raise errors of any type for damaged files
        reason = isinstance(error, ValueError | RuntimeError | OSError) and str(error)
        raise DataError(
            f"{name} cannot be read as an image ({reason or 'it is damaged'})",
            "repair or remove the file; `python -m tune_bio.audit` lists every such file",
        ) from error


def _only_page(file: TiffFile, data: bytes, name: str) -> TiffPage:
    entries = [file.pages[i] for i in range(_count_pages(file, data))]
    pages = [page for page in entries if isinstance(page, TiffPage)]
    images = [page for page in pages if not page.is_reduced and not page.is_mask]
    count = len(images) if len(images) != 1 else _count_planes(file, images[0])
    if count != 1:
        raise DataError(f"{name} holds {count} images", "give one image per file")
    if any(tag not in images[0].tags for tag in _REQUIRED) or not _has_bit_depth(images[0]):
        raise ValueError("its size, bit depth or colour type is missing")
    return images[0]


def _count_pages(file: TiffFile, data: bytes) -> int:
    """Count the pages; unlike tifffile, raise an error if their chain is cut or circular."""
    layout, visited = file.tiff, set()
    offset = file.pages.first.offset
    while offset != 0:
        if offset in visited:
            raise ValueError("its list of pages is damaged")
        visited.add(offset)
        (tags,) = struct.unpack_from(layout.tagnoformat, data, offset)
        end = offset + layout.tagnosize + tags * layout.tagsize
        (offset,) = struct.unpack_from(layout.offsetformat, data, end)
    return len(visited)


def _count_planes(file: TiffFile, page: TiffPage) -> int:
    """Count the images stored under one page, such as in a large stack of ImageJ."""
    counts = [page.imagedepth]
    if file.imagej_metadata:
        counts.append(file.imagej_metadata.get("images", 1))
    if file.shaped_metadata:  # a stack written by tifffile
        counts.append(prod(file.shaped_metadata[0]["shape"]) // max(prod(page.shape), 1))
    if _METAMORPH_PLANES in page.tags:
        counts.append(page.tags[_METAMORPH_PLANES].count)
    return max(counts)


def _has_bit_depth(page: TiffPage) -> bool:
    """Return True if the bit depth is stated, or if the data fit the standard's default of 1 bit.

    A page without the tag but with more data has lost the tag.
    """
    limit = page.imagelength * (page.imagewidth + 7) / 4  # bytes: twice the size of 1-bit data
    small = page.samplesperpixel == 1 and sum(page.databytecounts) <= limit
    return small or _BITS_PER_SAMPLE in page.tags


def _refuse_sizes(page: TiffPage) -> None:
    """Refuse images larger than Pillow's limit before memory is allocated for them."""
    sizes = [(page.imagewidth, page.imagelength)]
    if page.is_tiled:
        sizes.append((page.tilewidth, page.tilelength * page.tiledepth))
    for width, height in sizes:
        if not isinstance(width, int) or not isinstance(height, int) or min(width, height) < 1:
            raise ValueError("it has no size")
        if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
            limit = Image.MAX_IMAGE_PIXELS
            raise ValueError(f"its {width * height} pixels exceed the limit of {limit} pixels")


def _refuse_inexact(page: TiffPage, name: str) -> None:
    if page.compression not in _COMPRESSIONS:
        kind = getattr(page.compression, "name", page.compression)
        raise DataError(
            f"{name} is compressed as {kind}", "save it with LZW, deflate or JPEG, or uncompressed"
        )
    values, colour = page.samplesperpixel, getattr(page.photometric, "name", page.photometric)
    expected = _VALUES.get(page.photometric)  # type: ignore[call-overload]  # declared as int
    alpha = len(page.extrasamples)
    if (
        expected is None
        or values != expected + alpha
        or alpha > 1
        or _has_other_extra_samples(page)
    ):
        raise DataError(
            f"{name} holds {values} values per pixel, with the TIFF colour type {colour}",
            "save it as grey or RGB, with at most one alpha channel",
        )
    signed = page.sampleformat == SAMPLEFORMAT.INT
    integer = page.sampleformat in (SAMPLEFORMAT.UINT, SAMPLEFORMAT.VOID) or signed
    bits = page.bitspersample
    if not integer or bits not in _BITS or (signed and bits != 16):
        raise DataError(
            f"{name} holds {bits}-bit {_NUMBERS.get(page.sampleformat, '')}values",
            "save it as 8 or 16 bit, or give arrays (.npy)",
        )
    if _is_for_pillow(page) and (signed or bits != 8):
        raise DataError(f"{name} holds {bits}-bit {colour} colours", "save it as RGB")


def _has_other_extra_samples(page: TiffPage) -> bool:
    return not _ALPHA.issuperset(page.extrasamples)


def _is_for_pillow(page: TiffPage) -> bool:
    """Return True if the colours need a conversion that Pillow supports and tifffile does not."""
    if page.photometric == PHOTOMETRIC.YCBCR:
        return page.compression != COMPRESSION.JPEG  # imagecodecs converts JPEG
    return page.photometric == PHOTOMETRIC.SEPARATED


def _decode_with_pillow(data: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(BytesIO(data), formats=("TIFF",)) as image:
        return np.asarray(image.convert("RGB"))


def _refuse_missing_parts(page: TiffPage, data: bytes) -> None:
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))[: prod(page.chunked)]
    ends = [start + size for start, size in parts if start > 0 and size > 0]
    if len(ends) < prod(page.chunked) or max(ends) > len(data):
        raise ValueError("parts of it are missing")
    if page.compression == COMPRESSION.JPEG:
        for start, size in parts:
            _refuse_other_jpeg(page, data[start : start + size])


def _refuse_other_jpeg(page: TiffPage, part: bytes) -> None:
    """Refuse a JPEG part that is cut off, or larger than its strip or tile."""
    width = page.tilewidth if page.is_tiled else page.imagewidth
    height = page.tilelength if page.is_tiled else page.rowsperstrip
    with Image.open(BytesIO(part), formats=("JPEG",)) as image:
        fits = image.width <= width and image.height <= height
    if not fits or _END_OF_JPEG not in part[-16:]:  # a part may end with padding
        raise ValueError("a part of it is damaged")


def _to_pixels(page: TiffPage, values: npt.NDArray[np.generic]) -> Pixels:
    """Convert stored values to grey or RGB with 0 as black."""
    if page.photometric == PHOTOMETRIC.PALETTE:
        colours = _palette(page).T[values[..., 0].astype(np.intp)]
        return colours if _bits(page) == 16 else (colours >> 8).astype(np.uint8)
    values = values[..., : _VALUES[PHOTOMETRIC(page.photometric)]]  # drops alpha
    if page.sampleformat == SAMPLEFORMAT.INT:
        values = values.astype(np.int32) + 2**15
    pixels: Pixels = values.astype(np.uint8 if page.bitspersample <= 8 else np.uint16)
    white = pixels.dtype.type(2**page.bitspersample - 1)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        pixels = white - pixels
    return pixels * (255 // white) if white < 255 else pixels


def _bits(page: TiffPage) -> int:
    """Return the decoded bits per value, 8 or 16; for a palette, the bits of its colours."""
    if page.photometric != PHOTOMETRIC.PALETTE:
        return 8 if page.bitspersample <= 8 else 16
    colours = _palette(page)  # 16 bits each: 8-bit colours are stored times 256 or 257
    return 8 if not np.any(colours % 256) or not np.any(colours % 257) else 16


def _palette(page: TiffPage) -> npt.NDArray[np.uint16]:
    colours = np.asarray(page.tags.valueof(_COLOUR_MAP, default=()), dtype=np.uint16)
    if colours.shape != (3, 2**page.bitspersample):
        raise ValueError("its palette is damaged")
    return colours


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    upright = pixels.swapaxes(0, 1) if orientation in _TRANSPOSED else pixels
    upright = upright[::-1] if orientation in (3, 4, 7, 8) else upright
    return np.ascontiguousarray(upright[:, ::-1] if orientation in (2, 3, 6, 7) else upright)


def _orientation(page: TiffPage) -> int:
    orientation = page.tags.valueof(_ORIENTATION, default=1)
    return orientation if orientation in range(1, 9) else 1
