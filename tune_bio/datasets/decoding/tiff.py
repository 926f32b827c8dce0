"""TIFF files: one grey or colour image of up to 16 bits a value, every value as it was stored.

tifffile reads the structure, and imagecodecs what is compressed. Both go on over some damage, and
give black or grey for what is missing; so what is missing is looked for here.
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

# tifffile warns of every oddity; without a handler, Python would print that.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# Those that never give more than the page holds; other formats bring sizes of their own.
_COMPRESSIONS = {
    COMPRESSION.NONE,
    COMPRESSION.LZW,
    COMPRESSION.JPEG,
    COMPRESSION.ADOBE_DEFLATE,
    COMPRESSION.DEFLATE,
    COMPRESSION.PACKBITS,
    COMPRESSION.ZSTD,
}
_VALUES = {  # a pixel, by the kind of colour
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
_NEEDED = (256, 257, 262)  # tags of width, height and kind of colour
_BITS_A_VALUE, _ORIENTATION, _COLOUR_MAP, _PLANES = 258, 274, 320, 33629
_ON_ITS_SIDE = (5, 6, 7, 8)  # orientations
_END_OF_JPEG = b"\xff\xd9"


def is_tiff(data: bytes) -> bool:
    """Whether a file says that it is a TIFF."""
    return data[:2] in (b"II", b"MM")


def read_header(data: bytes, name: str) -> Header:
    """The header of a TIFF; raises DataError for one that cannot be used."""
    with _page(data, name) as page:
        height, width = page.imagelength, page.imagewidth
        if _orientation(page) in _ON_ITS_SIDE:
            height, width = width, height
        return Header(height, width, _bits(page), colour=page.photometric not in _COLOURLESS)


def decode(data: bytes, name: str) -> Pixels:
    """(H, W, 1) or (H, W, 3), 0 being black; signed numbers are shifted by 32,768."""
    with _page(data, name) as page:
        if _is_for_pillow(page):
            return _by_pillow(data)
        _refuse_missing_parts(page, data)
        stored = page.asarray(squeeze=False, maxworkers=1)[:, 0]  # depth is 1
        # Values of a pixel lie together, or each kind in a plane of its own.
        values = stored.transpose(1, 2, 0, 3).reshape(*stored.shape[1:3], -1)
        return _upright(_shown(page, values), _orientation(page))


@contextmanager
def _page(data: bytes, name: str) -> Iterator[TiffPage]:
    """The one page of a file, if it can be read exactly."""
    try:
        with TiffFile(BytesIO(data)) as file:
            page = _only_page(file, data, name)
            _refuse_sizes(page)
            _refuse_what_is_not_exact(page, name)
            yield page
    except DataError:
        raise
    except Exception as error:  # over damage, tifffile and the codecs raise errors of all kinds
        told = isinstance(error, ValueError | RuntimeError | OSError) and str(error)
        raise DataError(
            f"{name} cannot be read as an image ({told or 'it is damaged'})",
            "repair the file or take it out; `python -m tune_bio.audit` lists every such file",
        ) from error


def _only_page(file: TiffFile, data: bytes, name: str) -> TiffPage:
    found = [file.pages[i] for i in range(_count_pages(file, data))]
    pages = [page for page in found if isinstance(page, TiffPage)]
    whole = [page for page in pages if not page.is_reduced and not page.is_mask]
    count = len(whole) if len(whole) != 1 else _planes(file, whole[0])
    if count != 1:
        raise DataError(f"{name} holds {count} images", "give one image a file")
    if any(tag not in whole[0].tags for tag in _NEEDED) or not _tells_bits(whole[0]):
        raise ValueError("it does not tell its size, bits and kind of colour")
    return whole[0]


def _count_pages(file: TiffFile, data: bytes) -> int:
    """How many pages there are; tifffile overlooks that a chain is cut, or goes in a circle."""
    layout, seen = file.tiff, set()
    at = file.pages.first.offset
    while at != 0:
        if at in seen:
            raise ValueError("its list of pages is damaged")
        seen.add(at)
        (tags,) = struct.unpack_from(layout.tagnoformat, data, at)
        end = at + layout.tagnosize + tags * layout.tagsize
        (at,) = struct.unpack_from(layout.offsetformat, data, end)
    return len(seen)


def _planes(file: TiffFile, page: TiffPage) -> int:
    """How many images follow each other under one page, as in a large stack of ImageJ."""
    told = [page.imagedepth]
    if file.imagej_metadata:
        told.append(file.imagej_metadata.get("images", 1))
    if file.shaped_metadata:  # of tifffile's own stacks
        told.append(prod(file.shaped_metadata[0]["shape"]) // max(prod(page.shape), 1))
    if _PLANES in page.tags:  # of MetaMorph's
        told.append(page.tags[_PLANES].count)
    return max(told)


def _tells_bits(page: TiffPage) -> bool:
    """Where the tag is missing, images have 1 bit by the standard; others will have lost it."""
    enough = page.imagelength * (page.imagewidth + 7) / 4  # bytes: twice what 1 bit takes
    small = page.samplesperpixel == 1 and sum(page.databytecounts) <= enough
    return small or _BITS_A_VALUE in page.tags


def _refuse_sizes(page: TiffPage) -> None:
    """Refuse what claims to be huge before there is memory for it; Pillow's limit serves all."""
    sizes = [(page.imagewidth, page.imagelength)]
    if page.is_tiled:
        sizes.append((page.tilewidth, page.tilelength * page.tiledepth))
    for width, height in sizes:
        if not isinstance(width, int) or not isinstance(height, int) or min(width, height) < 1:
            raise ValueError("it has no size")
        if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
            limit = Image.MAX_IMAGE_PIXELS
            raise ValueError(f"its {width * height} pixels exceed the limit of {limit} pixels")


def _refuse_what_is_not_exact(page: TiffPage, name: str) -> None:
    if page.compression not in _COMPRESSIONS:
        kind = getattr(page.compression, "name", page.compression)
        raise DataError(
            f"{name} is compressed as {kind}", "save it with LZW, deflate or JPEG, or uncompressed"
        )
    values, colour = page.samplesperpixel, getattr(page.photometric, "name", page.photometric)
    expected = _VALUES.get(page.photometric)  # type: ignore[call-overload]  # declared as int
    alpha = len(page.extrasamples)
    if expected is None or values != expected + alpha or alpha > 1 or _is_no_alpha(page):
        raise DataError(
            f"{name} holds {values} values a pixel, of TIFF's kind {colour}",
            "save it as grey or RGB, with one alpha channel at most",
        )
    signed = page.sampleformat == SAMPLEFORMAT.INT
    whole = page.sampleformat in (SAMPLEFORMAT.UINT, SAMPLEFORMAT.VOID) or signed
    bits = page.bitspersample
    if not whole or bits not in _BITS or (signed and bits != 16):
        raise DataError(
            f"{name} holds {bits}-bit {_NUMBERS.get(page.sampleformat, '')}values",
            "save it as 8 or 16 bit, or give arrays (.npy)",
        )
    if _is_for_pillow(page) and (signed or bits != 8):
        raise DataError(f"{name} holds {bits}-bit {colour} colours", "save it as RGB")


def _is_no_alpha(page: TiffPage) -> bool:
    return not _ALPHA.issuperset(page.extrasamples)


def _is_for_pillow(page: TiffPage) -> bool:
    """Whether colours need a conversion that tifffile does not make, and Pillow does."""
    if page.photometric == PHOTOMETRIC.YCBCR:
        return page.compression != COMPRESSION.JPEG  # imagecodecs converts those
    return page.photometric == PHOTOMETRIC.SEPARATED


def _by_pillow(data: bytes) -> npt.NDArray[np.uint8]:
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
    """Refuse a part that was cut off, or is larger than its place in the page."""
    width = page.tilewidth if page.is_tiled else page.imagewidth
    height = page.tilelength if page.is_tiled else page.rowsperstrip
    with Image.open(BytesIO(part), formats=("JPEG",)) as image:
        fits = image.width <= width and image.height <= height
    if not fits or _END_OF_JPEG not in part[-16:]:  # a few bytes may fill up the part
        raise ValueError("a part of it is damaged")


def _shown(page: TiffPage, values: npt.NDArray[np.generic]) -> Pixels:
    """The values as grey or RGB, 0 being black."""
    if page.photometric == PHOTOMETRIC.PALETTE:
        colours = _palette(page).T[values[..., 0].astype(np.intp)]
        return colours if _bits(page) == 16 else (colours >> 8).astype(np.uint8)
    values = values[..., : _VALUES[PHOTOMETRIC(page.photometric)]]  # without alpha
    if page.sampleformat == SAMPLEFORMAT.INT:
        values = values.astype(np.int32) + 2**15
    pixels: Pixels = values.astype(np.uint8 if page.bitspersample <= 8 else np.uint16)
    white = pixels.dtype.type(2**page.bitspersample - 1)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        pixels = white - pixels
    return pixels * (255 // white) if white < 255 else pixels


def _bits(page: TiffPage) -> int:
    """8 or 16; of a palette, what its colours need."""
    if page.photometric != PHOTOMETRIC.PALETTE:
        return 8 if page.bitspersample <= 8 else 16
    colours = _palette(page)  # 16 bits each: 8-bit ones stand in them times 256 or 257
    return 8 if not np.any(colours % 256) or not np.any(colours % 257) else 16


def _palette(page: TiffPage) -> npt.NDArray[np.uint16]:
    colours = np.asarray(page.tags.valueof(_COLOUR_MAP, default=()), dtype=np.uint16)
    if colours.shape != (3, 2**page.bitspersample):
        raise ValueError("its palette is damaged")
    return colours


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    turned = pixels.swapaxes(0, 1) if orientation in _ON_ITS_SIDE else pixels
    turned = turned[::-1] if orientation in (3, 4, 7, 8) else turned
    return np.ascontiguousarray(turned[:, ::-1] if orientation in (2, 3, 6, 7) else turned)


def _orientation(page: TiffPage) -> int:
    told = page.tags.valueof(_ORIENTATION, default=1)
    return told if told in range(1, 9) else 1
