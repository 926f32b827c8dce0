"""Find near copies: images that look the same but differ in their pixels.

Images are compared by the Hamming distance of 256-bit perceptual hashes. Measured on 1,601 chest
radiographs of 901 patients (224 px): the closest of 1.3 million pairs of different patients differ
in 48 bits. Copies differ in at most 10 bits when saved as JPEG of quality 70 at 0.9 of their size,
in 14 at quality 50 and half the size, and in 22 when 15 % brighter. With 64 bits, the usual length,
radiographs of different children are as close as such copies: 25 pairs differ in at most 4 bits.

JPEG compression removes the frequencies that are compared here from images smaller than about
64 px; of such images, only light changes are found.
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
MAX_PAIRS = 10_000  # frames of one film would give millions, which nobody reads
_BLOCK, _TILE = 256, 4096  # pairs compared at once: their distances fit into the CPU's cache
_BLOCKS_AT_ONCE = 64

Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Pairs:
    """Pairs of images, the nearest first.

    i, j: (n,) positions of the two images, i < j.
    bits: (n,) number of bits in which their perceptual hashes differ.
    complete: False if there are more pairs than these.
    """

    i: Positions
    j: Positions
    bits: npt.NDArray[np.intp]
    complete: bool

    def select(self, mask: npt.NDArray[np.bool_]) -> "Pairs":
        """Return the pairs selected by a mask."""
        return Pairs(self.i[mask], self.j[mask], self.bits[mask], self.complete)


def check_near_copies(
    subject: AuditedImages, hashes: ImageHashes, progress: Progress
) -> list[Finding]:
    """Look for near copies within a split, and across splits unless they are of one patient."""
    candidates = _representatives(subject, hashes)
    near = near_pairs(hashes.perceptual[candidates], LIMIT, progress)
    pairs = Pairs(candidates[near.i], candidates[near.j], near.bits, near.complete)
    pairs = pairs.select((hashes.pixels[pairs.i] != hashes.pixels[pairs.j]).any(axis=1))
    across_splits = subject.split[pairs.i] != subject.split[pairs.j]
    across_patients = subject.patients[pairs.i] != subject.patients[pairs.j]
    return [
        *_finding(
            NEAR_ACROSS,
            "warning",
            subject,
            pairs.select(across_splits & across_patients),
            "of different patients that look the same across splits"
            if subject.patients_known
            else "that look the same across splits",
            "look at them on the contact sheet of tune_bio.audit; if they are copies, keep one, "
            "or assign both to one patient",
        ),
        *_finding(
            NEAR_WITHIN,
            "note",
            subject,
            pairs.select(~across_splits),
            "that look the same within one split",
            "look at them on the contact sheet of tune_bio.audit; if they are copies, keep one",
        ),
    ]


def near_pairs(hashes: Words, limit: int, progress: Progress) -> Pairs:
    """Find all pairs of hashes that differ in at most `limit` bits.

    All pairs are first compared by 64 of their bits, and only the few that pass by all bits: the
    20 billion pairs of 200,000 images take seconds to minutes.

    Args:
        hashes: (n, w) uint64.
        limit: the largest distance, in bits.
        progress: called with (blocks done, all blocks).
    """
    last_words = np.ascontiguousarray(hashes[:, -1])  # high frequencies differ most

    def compare_block(start: int) -> list[Positions]:
        return _near_in_block(hashes, last_words, start, limit)

    starts = range(0, len(hashes), _BLOCK)
    parts: list[list[Positions]] = []
    for part in map_in_order(compare_block, starts, progress, at_once=_BLOCKS_AT_ONCE):
        parts.append(part)
        if sum(len(i) for i, _, _ in parts) > MAX_PAIRS:
            break
    i, j, bits = (
        np.concatenate([np.empty(0, dtype=np.intp), *(part[k] for part in parts)]) for k in range(3)
    )
    order = np.lexsort((j, i, bits))[:MAX_PAIRS]
    return Pairs(i[order], j[order], bits[order], complete=len(i) <= MAX_PAIRS)


def _near_in_block(hashes: Words, last_words: Words, start: int, limit: int) -> list[Positions]:
    """Return i, j and the distance of all near pairs whose i is in one block."""
    rows = slice(start, start + _BLOCK)
    tiles: list[tuple[Positions, Positions, Positions]] = []
    for column in range(start, len(hashes), _TILE):
        columns = slice(column, column + _TILE)
        passed = np.bitwise_count(last_words[rows, np.newaxis] ^ last_words[columns]) <= limit
        i, j = np.nonzero(passed)
        i, j = i + start, j + column
        i, j = i[i < j], j[i < j]
        bits = np.bitwise_count(hashes[i] ^ hashes[j]).sum(axis=1, dtype=np.intp)
        near = bits <= limit
        tiles.append((i[near], j[near], bits[near]))
        if sum(len(tile[0]) for tile in tiles) > MAX_PAIRS:
            break
    return [np.concatenate([tile[k] for tile in tiles]) for k in range(3)]


def _representatives(subject: AuditedImages, hashes: ImageHashes) -> Positions:
    """Return one position per group of exact copies in each split, without constant images."""
    candidates = np.flatnonzero(~hashes.constant)
    if not len(candidates):
        return candidates
    _, split = np.unique(subject.split[candidates], return_inverse=True)
    keys = np.column_stack([hashes.pixels[candidates], split.astype(np.uint64)])
    _, first = np.unique(keys, axis=0, return_index=True)
    return candidates[np.sort(first)]


def _finding(
    kind: str, severity: Severity, subject: AuditedImages, pairs: Pairs, fault: str, remedy: str
) -> list[Finding]:
    if not len(pairs.i):
        return []
    at_least = "" if pairs.complete else "at least "
    distances: Sequence[tuple[int, int, int]] = list(
        zip(pairs.i.tolist(), pairs.j.tolist(), pairs.bits.tolist(), strict=True)
    )
    return [
        Finding(
            kind,
            severity,
            f"{at_least}{pluralize(len(pairs.i), 'pair')} of images {fault}",
            remedy,
            {"pairs": len(pairs.i), "images": len(np.union1d(pairs.i, pairs.j))},
            tuple(
                (subject.affected_image(i), subject.affected_image(j, f"{bits} bits apart"))
                for i, j, bits in distances
            ),
        )
    ]
