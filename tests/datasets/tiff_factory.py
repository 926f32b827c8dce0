"""TIFF files of every layout, compression and colour type, with the pixels that they contain."""

import struct
from io import BytesIO
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from tests.datasets.source_factory import noise

GREY, DEEP = noise(40, 50), noise(40, 50, dtype=np.uint16)
RGB, DEEP_RGB = noise(40, 50, 3), noise(40, 50, 3, dtype=np.uint16)
BLACK_OR_WHITE = 255 * (GREY > 99).astype(np.uint8)
TWELVE = DEEP & np.uint16(4095)
PALETTE = noise(3, 256, dtype=np.uint16)
WIDTH, BITS, KIND, OFFSETS, SIZES, TILE_WIDTH = 256, 258, 262, 273, 279, 322
PIXELS = {"grey": GREY, "16-bit grey": DEEP, "colour": RGB, "16-bit colour": DEEP_RGB}
LAYOUTS: dict[str, dict[str, Any]] = {
    "one strip": {},
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 32)},
    "BigTIFF": {"bigtiff": True},
    "big-endian": {"byteorder": ">"},
    "big-endian tiles with a predictor": {
        "byteorder": ">", "tile": (32, 16), "compression": "zlib", "predictor": True},
    "LZW": {"compression": "lzw", "rowsperstrip": 9},
    "LZW with a predictor": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "zlib", "tile": (16, 16)},
    "old-style deflate": {"compression": "deflate"},
    "PackBits": {"compression": "packbits", "rowsperstrip": 11},
    "zstandard": {"compression": "zstd"},
}  # fmt: skip


def written(pixels: Any, **options: Any) -> bytes:
    buffer = BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def of_kind(pixels: Any, **options: Any) -> bytes:
    return written(pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack", **options)


def planes(pixels: Any, **options: Any) -> bytes:
    separate = np.moveaxis(pixels, 2, 0)
    return written(separate, photometric="rgb", planarconfig="separate", **options)


def with_alpha(pixels: Any) -> Any:
    alpha = noise(40, 50, dtype=pixels.dtype, seed=9)
    return np.dstack([pixels, alpha])


def patched(data: bytes, tag: int, *values: int) -> bytes:
    """Return the file with the first values of a tag of its first page replaced."""
    with tifffile.TiffFile(BytesIO(data)) as file:
        entry = file.pages[0].tags[tag]  # type: ignore[union-attr]
        layout = file.byteorder + {3: "H", 4: "I", 16: "Q"}[int(entry.dtype)] * len(values)
        offset = entry.valueoffset
    replacement = struct.pack(layout, *values)
    return data[:offset] + replacement + data[offset + len(replacement) :]


def tag_at(data: bytes, tag: int) -> int:
    with tifffile.TiffFile(BytesIO(data)) as file:
        return int(file.pages[0].tags[tag].offset)  # type: ignore[union-attr]


def pages(*images: Any, **second: Any) -> bytes:
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for i, image in enumerate(images):
            writer.write(image, metadata=None, **(second if i else {}))
    return buffer.getvalue()


def by_pillow(image: Image.Image, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "tiff", **options)
    return buffer.getvalue()


def pyramid() -> bytes:
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(RGB, photometric="rgb", subifds=1)
        writer.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)
    return buffer.getvalue()


EXACT: dict[str, tuple[bytes, Any]] = {
    f"{kind}, {layout}": (of_kind(pixels, **options), pixels)
    for kind, pixels in PIXELS.items()
    for layout, options in LAYOUTS.items()
} | {
    "planes": (planes(RGB), RGB),
    "16-bit planes": (planes(DEEP_RGB), DEEP_RGB),
    "16-bit planes in tiles, LZW": (planes(DEEP_RGB, tile=(16, 16), compression="lzw"), DEEP_RGB),
    "ImageJ": (written(DEEP, imagej=True), DEEP),
    "ImageJ, colour": (written(RGB, imagej=True, photometric="rgb"), RGB),
    "12 bits in 16": (of_kind(TWELVE), TWELVE),
    "12 bits, packed": (of_kind(TWELVE, bitspersample=12), TWELVE),
    "4 bits": (of_kind(GREY >> 4, bitspersample=4), (GREY >> 4) * 17),
    "1 bit": (written(GREY > 99, photometric="minisblack"), BLACK_OR_WHITE),
    "1 bit, white is zero": (written(GREY > 99, photometric="miniswhite"), 255 - BLACK_OR_WHITE),
    "1 bit, by Pillow": (by_pillow(Image.fromarray(GREY > 99)), BLACK_OR_WHITE),
    "white is zero": (written(GREY, photometric="miniswhite"), 255 - GREY),
    "white is zero, 16 bit": (written(DEEP, photometric="miniswhite"), 65535 - DEEP),
    "white is zero, 12 bits packed": (
        written(TWELVE, photometric="miniswhite", bitspersample=12), 4095 - TWELVE),
    "signed": (of_kind((DEEP.astype(int) - 2**15).astype(np.int16), compression="lzw"), DEEP),
    "signed colour": (of_kind((DEEP_RGB.astype(int) - 2**15).astype(np.int16)), DEEP_RGB),
    "alpha": (of_kind(with_alpha(RGB)), RGB),
    "16-bit alpha": (of_kind(with_alpha(DEEP_RGB)), DEEP_RGB),
    "16-bit alpha in planes": (planes(with_alpha(DEEP_RGB)), DEEP_RGB),
    "grey and alpha": (
        written(with_alpha(DEEP), photometric="minisblack", planarconfig="contig",
                extrasamples=["unassalpha"]), DEEP),
    "palette": (
        written(GREY, photometric="palette", colormap=PALETTE // 257 * 257),
        (PALETTE // 257).astype(np.uint8).T[GREY]),
    "palette times 256": (
        written(GREY, photometric="palette", colormap=PALETTE & 0xFF00),
        (PALETTE >> 8).astype(np.uint8).T[GREY]),
    "palette of 16-bit colours": (
        written(GREY, photometric="palette", colormap=PALETTE), PALETTE.T[GREY]),
    "pyramid in sub-IFDs": (pyramid(), RGB),
    "pyramid in further pages": (pages(GREY, GREY[::2, ::2], GREY[::4, ::4], subfiletype=1), GREY),
    "mask in a further page": (pages(GREY, GREY > 9, subfiletype=4), GREY),
}  # fmt: skip
