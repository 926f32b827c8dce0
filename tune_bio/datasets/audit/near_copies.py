"""Near copies: images that look the same and are not the same pixels.

Looks are compared by the Hamming distance of 256-bit perceptual hashes. Measured on 1,601 chest
radiographs of 901 patients (224 px): the closest of 1.3 million pairs of different patients are 48
bits apart, while copies saved as JPEG of quality 70 at 0.9 of their size are 10 bits apart at most,
of quality 50 at half the size 14, 15 % brighter 22. With 64 bits, the usual length, radiographs of
different children are as close as such copies: 25 pairs at a distance of 4 or less.

Images smaller than some 64 px lose to a JPEG what this looks at: only light changes are found.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tune_bio.common.labels import pluralize
from tune_bio.datasets.audit.audited_images import AuditedImages
from tune_bio.datasets.audit.findings import Finding, Severity
from tune_bio.datasets.audit.image_hashes import ImageHashes, Words
from tune_bio.datasets.decoding.parallel import Progress, map_in_order

LIMIT = 20  # bits that may differ
NEAR_ACROSS, NEAR_WITHIN = "near_copies_across_splits", "near_copies_within_split"
MOST_PAIRS = 10_000  # images of one film would give millions, and nobody reads them
_BLOCK, _TILE = 256, 4096  # pairs compared at once: their distances stay in the CPU's cache
_AT_ONCE = 64

Where = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Pairs:
    """Pairs of images, i < j, with the bits in which their looks differ; the nearest first."""

    i: Where
    j: Where
    bits: npt.NDArray[np.intp]
    complete: bool  # whether there are no more

    def where(self, mask: npt.NDArray[np.bool_]) -> "Pairs":
        """Some of them."""
        return Pairs(self.i[mask], self.j[mask], self.bits[mask], self.complete)


def check_near_copies(
    subject: AuditedImages, marks: ImageHashes, progress: Progress
) -> list[Finding]:
    """Near copies across splits, of patients that are not known to be the same; and within one."""
    seen = _representatives(subject, marks)
    found = near_pairs(marks.looks[seen], LIMIT, progress)
    pairs = Pairs(seen[found.i], seen[found.j], found.bits, found.complete)
    pairs = pairs.where((marks.pixels[pairs.i] != marks.pixels[pairs.j]).any(axis=1))
    apart = subject.split[pairs.i] != subject.split[pairs.j]
    strangers = subject.patients[pairs.i] != subject.patients[pairs.j]
    return [
        *_finding(
            NEAR_ACROSS,
            "warning",
            subject,
            pairs.where(apart & strangers),
            "of different patients that look the same across splits"
            if subject.patients_known
            else "that look the same across splits",
            "look at them on the sheet of tune_bio.audit; if they are copies, keep one, "
            "or make their patient the same",
        ),
        *_finding(
            NEAR_WITHIN,
            "note",
            subject,
            pairs.where(~apart),
            "that look the same within one split",
            "look at them on the sheet of tune_bio.audit; if they are copies, keep one",
        ),
    ]


def near_pairs(looks: Words, limit: int, progress: Progress) -> Pairs:
    """All pairs of rows that differ in at most `limit` bits.

    All pairs are compared by 64 of the bits, and the few that agree in these by all: 20 thousand
    million pairs, those of 200,000 images, take seconds to minutes.

    Args:
        looks: (n, w) uint64.
        limit: in bits.
        progress: called with (blocks done, all).
    """
    first = np.ascontiguousarray(looks[:, -1])  # high frequencies differ more than low ones

    def block(start: int) -> list[Where]:
        return _near_in_block(looks, first, start, limit)

    starts = range(0, len(looks), _BLOCK)
    parts: list[list[Where]] = []
    for part in map_in_order(block, starts, progress, at_once=_AT_ONCE):
        parts.append(part)
        if sum(len(i) for i, _, _ in parts) > MOST_PAIRS:
            break
    i, j, bits = (
        np.concatenate([np.empty(0, dtype=np.intp), *(part[k] for part in parts)]) for k in range(3)
    )
    order = np.lexsort((j, i, bits))[:MOST_PAIRS]
    return Pairs(i[order], j[order], bits[order], complete=len(i) <= MOST_PAIRS)


def _near_in_block(looks: Words, first: Words, start: int, limit: int) -> list[Where]:
    """i, j and the distance of the near pairs whose i is in one block."""
    rows = slice(start, start + _BLOCK)
    found: list[tuple[Where, Where, Where]] = []
    for column in range(start, len(looks), _TILE):
        columns = slice(column, column + _TILE)
        few = np.bitwise_count(first[rows, np.newaxis] ^ first[columns]) <= limit
        i, j = np.nonzero(few)
        i, j = i + start, j + column
        i, j = i[i < j], j[i < j]
        bits = np.bitwise_count(looks[i] ^ looks[j]).sum(axis=1, dtype=np.intp)
        near = bits <= limit
        found.append((i[near], j[near], bits[near]))
        if sum(len(part[0]) for part in found) > MOST_PAIRS:
            break
    return [np.concatenate([part[k] for part in found]) for k in range(3)]


def _representatives(subject: AuditedImages, marks: ImageHashes) -> Where:
    """One image of each group of exact copies in each split; constant images look like nothing."""
    candidates = np.flatnonzero(~marks.constant)
    if not len(candidates):
        return candidates
    _, split = np.unique(subject.split[candidates], return_inverse=True)
    keys = np.column_stack([marks.pixels[candidates], split.astype(np.uint64)])
    _, which = np.unique(keys, axis=0, return_index=True)
    return candidates[np.sort(which)]


def _finding(
    kind: str, severity: Severity, subject: AuditedImages, pairs: Pairs, fault: str, remedy: str
) -> list[Finding]:
    if not len(pairs.i):
        return []
    least = "" if pairs.complete else "at least "
    groups: Sequence[tuple[int, int, int]] = list(
        zip(pairs.i.tolist(), pairs.j.tolist(), pairs.bits.tolist(), strict=True)
    )
    return [
        Finding(
            kind,
            severity,
            f"{least}{pluralize(len(pairs.i), 'pair')} of images {fault}",
            remedy,
            {"pairs": len(pairs.i), "images": len(np.union1d(pairs.i, pairs.j))},
            tuple(
                (subject.affected_image(i), subject.affected_image(j, f"{bits} bits apart"))
                for i, j, bits in groups
            ),
        )
    ]
