"""Exact copies: images whose decoded pixels are the same, in files of whatever bytes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tune_bio.common.labels import pluralize
from tune_bio.datasets.audit.audited_images import SEALED, AuditedImages
from tune_bio.datasets.audit.findings import COPIES_ACROSS, Finding, Severity
from tune_bio.datasets.audit.image_hashes import ImageHashes

COPIES_WITHIN, OTHER_LABELS = "copies_within_split", "copies_with_other_labels"

Where = npt.NDArray[np.intp]


def check_copies(subject: AuditedImages, marks: ImageHashes) -> list[Finding]:
    """Copies across given splits, across splits that were cut, within one, and with other labels.

    Constant images are copies of each other and are told elsewhere.
    """
    groups = _groups(marks)
    across_given = [group for group in groups if len(set(subject.given[group])) > 1]
    across_cut = [
        group
        for group in groups
        if len(set(subject.given[group])) == 1 and len(set(subject.split[group])) > 1
    ]
    within = [group for group in groups if len(set(subject.split[group])) == 1]
    across = across_given + across_cut
    severity: Severity = "error" if across_given else "warning"
    remedy = (
        "scores will be too good; remove the copies from all splits but one"
        if across_given
        else "remove the copies, or make their patient the same, so that they stay together"
    )
    return [
        *_finding(COPIES_ACROSS, severity, subject, across, "in more than one split", remedy),
        *_finding(
            COPIES_WITHIN,
            "note",
            subject,
            within,
            "within one split",
            "each counts as an image of its own; keep one of them",
        ),
        *_other_labels(subject, groups),
    ]


def _groups(marks: ImageHashes) -> list[Where]:
    """Positions of the images of each group of copies."""
    candidates = np.flatnonzero(~marks.constant)
    if not len(candidates):
        return []
    _, group, counts = np.unique(
        marks.pixels[candidates], axis=0, return_inverse=True, return_counts=True
    )
    copied = np.flatnonzero(counts[group] > 1)
    order = copied[np.argsort(group[copied], kind="stable")]
    borders = np.flatnonzero(np.diff(group[order])) + 1
    found = [candidates[part] for part in np.split(order, borders) if len(part)]
    return sorted(found, key=lambda part: int(part[0]))


def _finding(
    kind: str,
    severity: Severity,
    subject: AuditedImages,
    groups: Sequence[Where],
    where: str,
    remedy: str,
) -> list[Finding]:
    if not groups:
        return []
    images = sum(map(len, groups))
    identical = sum(_same_bytes(subject, group) for group in groups)
    bytes_too = f", {identical} of them byte for byte" if identical else ""
    return [
        Finding(
            kind,
            severity,
            f"{pluralize(len(groups), 'image')} in {images} copies {where} "
            f"(equal in every pixel{bytes_too})",
            remedy,
            {"groups": len(groups), "images": images, "groups_byte_for_byte": identical},
            tuple(tuple(map(subject.labelled, group.tolist())) for group in groups),
        )
    ]


def _same_bytes(subject: AuditedImages, group: Where) -> bool:
    """Whether all copies are files of the same bytes."""
    hashes = {subject.file_hashes[i] for i in group}
    return len(hashes) == 1 and None not in hashes


def _other_labels(subject: AuditedImages, groups: Sequence[Where]) -> list[Finding]:
    differing = [group for group in groups if len(set(subject.labels[group])) > 1]
    if not differing:
        return []
    # Beside a copy of known label, "another label" would tell that of an image of the test split.
    open_to_see = [group for group in differing if SEALED not in subject.split[group]]
    return [
        Finding(
            OTHER_LABELS,
            "warning",
            f"{pluralize(len(differing), 'image')} whose exact copies carry different labels",
            "one of the labels is wrong; correct it, or remove all the copies",
            {
                "groups": len(differing),
                "groups_with_test_images": len(differing) - len(open_to_see),
            },
            tuple(tuple(map(subject.labelled, group.tolist())) for group in open_to_see),
        )
    ]
