"""Find unreadable files, images without content, and images unlike the others."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from tune_bio.common.labels import pluralize
from tune_bio.datasets.audit.audited_images import AuditedImages
from tune_bio.datasets.audit.findings import AffectedImage, Finding, singles
from tune_bio.datasets.audit.image_hashes import ImageHashes

UNREADABLE, CONSTANT, OVERSIZED = "unreadable", "constant", "oversized"
MIXED_SIZES, MIXED_DEPTHS, MIXED_COLOUR = "mixed_sizes", "mixed_depths", "mixed_colour"
MAX_SIDE = 4096  # px, the longer side
MAX_RATIO = 4  # of the longer side to its median


def check_defects(
    subject: AuditedImages, hashes: ImageHashes, unreadable: Sequence[AffectedImage]
) -> list[Finding]:
    """Check single images for defects, and the set for mixed sizes, depths and colours."""
    return [
        *_unreadable(unreadable),
        *_constant(subject, hashes),
        *_oversized(subject),
        *_mixed_sizes(subject),
        *_mixed_depths(subject),
        *_mixed_colour(subject),
    ]


def _unreadable(files: Sequence[AffectedImage]) -> list[Finding]:
    if not files:
        return []
    return [
        Finding(
            UNREADABLE,
            "error",
            f"{pluralize(len(files), 'file')} that cannot be read as an image, or only in part",
            "repair or remove them; the rest of the audit leaves them out",
            {"files": len(files)},
            singles(files),
        )
    ]


def _constant(subject: AuditedImages, hashes: ImageHashes) -> list[Finding]:
    positions = np.flatnonzero(hashes.constant).tolist()
    if not positions:
        return []
    return [
        Finding(
            CONSTANT,
            "warning",
            f"{pluralize(len(positions), 'image')} with the same value in every pixel",
            "they show nothing; remove them",
            {"images": len(positions), **_by_split(subject, positions)},
            singles(subject.affected_images(positions)),
        )
    ]


def _oversized(subject: AuditedImages) -> list[Finding]:
    sides = np.array([max(header.height, header.width) for header in subject.headers])
    positions = np.flatnonzero((sides > MAX_SIDE) | (sides > MAX_RATIO * np.median(sides))).tolist()
    if not positions:
        return []
    return [
        Finding(
            OVERSIZED,
            "warning",
            f"{pluralize(len(positions), 'image')} longer than {MAX_SIDE} px, or than {MAX_RATIO} "
            "times the median",
            "little of them remains at the image size of a trial; if they are whole slides or "
            "montages, crop them to what the others show",
            {
                "images": len(positions),
                "longest": int(sides.max()),
                **_by_split(subject, positions),
            },
            singles(
                [
                    subject.affected_image(
                        i, f"{subject.headers[i].width} x {subject.headers[i].height} px"
                    )
                    for i in positions
                ]
            ),
        )
    ]


def _mixed_sizes(subject: AuditedImages) -> list[Finding]:
    sizes = Counter((header.width, header.height) for header in subject.headers)
    if len(sizes) == 1:
        return []
    lengths = sorted({side for size in sizes for side in size})
    return [
        Finding(
            MIXED_SIZES,
            "note",
            f"the images have {len(sizes)} sizes, of sides from {lengths[0]} to {lengths[-1]} px",
            "each is resized to a square; make sure that size does not correlate with class",
            {"sizes": len(sizes), "shortest": lengths[0], "longest": lengths[-1]},
        )
    ]


def _mixed_depths(subject: AuditedImages) -> list[Finding]:
    return _mixture(
        subject,
        MIXED_DEPTHS,
        [header.bits for header in subject.headers],
        {8: "8 bits", 16: "16 bits"},
        "8-bit values are multiplied by 257; make sure that depth does not correlate with class, "
        "or convert them",
    )


def _mixed_colour(subject: AuditedImages) -> list[Finding]:
    return _mixture(
        subject,
        MIXED_COLOUR,
        [header.colour for header in subject.headers],
        {False: "grey", True: "colour"},
        "make sure that colour does not correlate with class, or convert them",
    )


def _mixture(
    subject: AuditedImages,
    kind: str,
    values: Sequence[Hashable],
    names: Mapping[Hashable, str],
    remedy: str,
) -> list[Finding]:
    """Report a property in which the images differ, and the images of its rarest value."""
    counts = Counter(values)
    if len(counts) == 1:
        return []
    rarer, count = counts.most_common()[-1]
    positions = [i for i, value in enumerate(values) if value == rarer]
    return [
        Finding(
            kind,
            "note",
            f"{pluralize(count, 'image')} of {len(values)} stored in {names[rarer]}, the others in "
            f"{names[counts.most_common(1)[0][0]]}",
            remedy,
            {names[value]: number for value, number in counts.items()},
            singles(subject.affected_images(positions)),
        )
    ]


def _by_split(subject: AuditedImages, positions: Sequence[int]) -> dict[str, int]:
    return dict(Counter(subject.split[positions].tolist()))
