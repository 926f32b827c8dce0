"""Files that cannot be read, images without content, and images unlike the others."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from tune_bio.common.labels import pluralize
from tune_bio.datasets.audit.audited_images import AuditedImages
from tune_bio.datasets.audit.findings import AffectedImage, Finding, singles
from tune_bio.datasets.audit.image_hashes import ImageHashes

UNREADABLE, CONSTANT, OVERSIZED = "unreadable", "constant", "oversized"
MIXED_SIZES, MIXED_DEPTHS, MIXED_COLOUR = "mixed_sizes", "mixed_depths", "mixed_colour"
LARGEST = 4096  # px, the longer side
OUTLYING = 4  # times the median of the longer sides


def check_defects(
    subject: AuditedImages, marks: ImageHashes, unreadable: Sequence[AffectedImage]
) -> list[Finding]:
    """All that is wrong with single images, and what the images differ in."""
    return [
        *_unreadable(unreadable),
        *_constant(subject, marks),
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
            f"{pluralize(len(files), 'file')} that cannot be read as an image, or not to the end",
            "repair them or take them out; they are left out of everything else here",
            {"files": len(files)},
            singles(files),
        )
    ]


def _constant(subject: AuditedImages, marks: ImageHashes) -> list[Finding]:
    where = np.flatnonzero(marks.constant).tolist()
    if not where:
        return []
    return [
        Finding(
            CONSTANT,
            "warning",
            f"{pluralize(len(where), 'image')} with one value in every pixel",
            "there is nothing to see in them; take them out",
            {"images": len(where), **_by_split(subject, where)},
            singles(subject.affected(where)),
        )
    ]


def _oversized(subject: AuditedImages) -> list[Finding]:
    longer = np.array([max(header.height, header.width) for header in subject.headers])
    where = np.flatnonzero((longer > LARGEST) | (longer > OUTLYING * np.median(longer))).tolist()
    if not where:
        return []
    return [
        Finding(
            OVERSIZED,
            "warning",
            f"{pluralize(len(where), 'image')} longer than {LARGEST} px, or than {OUTLYING} times "
            "the median",
            "at the size of a trial little is left of them; see whether they are whole slides or "
            "montages, and cut them to what the others show",
            {"images": len(where), "longest": int(longer.max()), **_by_split(subject, where)},
            singles(
                [
                    subject.affected_image(
                        i, f"{subject.headers[i].width} x {subject.headers[i].height} px"
                    )
                    for i in where
                ]
            ),
        )
    ]


def _mixed_sizes(subject: AuditedImages) -> list[Finding]:
    sizes = Counter((header.width, header.height) for header in subject.headers)
    if len(sizes) == 1:
        return []
    sides = sorted({side for size in sizes for side in size})
    return [
        Finding(
            MIXED_SIZES,
            "note",
            f"the images have {len(sizes)} sizes, of sides from {sides[0]} to {sides[-1]} px",
            "each is resized to a square; make sure that size does not go with class",
            {"sizes": len(sizes), "shortest": sides[0], "longest": sides[-1]},
        )
    ]


def _mixed_depths(subject: AuditedImages) -> list[Finding]:
    return _mixture(
        subject,
        MIXED_DEPTHS,
        [header.bits for header in subject.headers],
        {8: "8 bits", 16: "16 bits"},
        "8 bits are taken times 257; make sure that depth does not go with class, or convert them",
    )


def _mixed_colour(subject: AuditedImages) -> list[Finding]:
    return _mixture(
        subject,
        MIXED_COLOUR,
        [header.colour for header in subject.headers],
        {False: "grey", True: "colour"},
        "make sure that it does not go with class, or convert them",
    )


def _mixture(
    subject: AuditedImages,
    kind: str,
    values: Sequence[Hashable],
    names: Mapping[Hashable, str],
    remedy: str,
) -> list[Finding]:
    """Images that differ in a property, those of the rarer value by name."""
    counts = Counter(values)
    if len(counts) == 1:
        return []
    rarer, count = counts.most_common()[-1]
    where = [i for i, value in enumerate(values) if value == rarer]
    return [
        Finding(
            kind,
            "note",
            f"{pluralize(count, 'image')} of {len(values)} stored in {names[rarer]}, the others in "
            f"{names[counts.most_common(1)[0][0]]}",
            remedy,
            {names[value]: n for value, n in counts.items()},
            singles(subject.affected(where)),
        )
    ]


def _by_split(subject: AuditedImages, where: Sequence[int]) -> dict[str, int]:
    return dict(Counter(subject.split[where].tolist()))
