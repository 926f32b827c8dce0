"""Find exact copies: images with the same decoded pixels, even if their files differ."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tune_bio.common.labels import pluralize
from tune_bio.datasets.audit.audited_images import SEALED, AuditedImages
from tune_bio.datasets.audit.findings import COPIES_ACROSS, Finding, Severity
from tune_bio.datasets.audit.image_hashes import ImageHashes

COPIES_WITHIN, OTHER_LABELS = "copies_within_split", "copies_with_other_labels"

Positions = npt.NDArray[np.intp]


def check_copies(subject: AuditedImages, hashes: ImageHashes) -> list[Finding]:
    """Look for copies across splits, within one split, and with different labels.

    Copies between the source's own splits are an error; between splits that were cut from its
    train split they are a warning. Constant images are not copies; see `check_defects`.
    """
    groups = _groups(hashes)
    across_source_splits = [group for group in groups if len(set(subject.source_split[group])) > 1]
    across_cut_splits = [
        group
        for group in groups
        if len(set(subject.source_split[group])) == 1 and len(set(subject.split[group])) > 1
    ]
    within = [group for group in groups if len(set(subject.split[group])) == 1]
    across = across_source_splits + across_cut_splits
    severity: Severity = "error" if across_source_splits else "warning"
    remedy = (
        "scores will be too good; remove the copies from all splits but one"
        if across_source_splits
        else "remove the copies, or assign them to one patient, so that they stay together"
    )
    return [
        *_finding(COPIES_ACROSS, severity, subject, across, "in more than one split", remedy),
        *_finding(
            COPIES_WITHIN,
            "note",
            subject,
            within,
            "within one split",
            "each counts as a separate image; keep one of them",
        ),
        *_other_labels(subject, groups),
    ]


def _groups(hashes: ImageHashes) -> list[Positions]:
    """Return the positions of the images in each group of copies."""
    candidates = np.flatnonzero(~hashes.constant)
    if not len(candidates):
        return []
    _, group, counts = np.unique(
        hashes.pixels[candidates], axis=0, return_inverse=True, return_counts=True
    )
    copied = np.flatnonzero(counts[group] > 1)
    order = copied[np.argsort(group[copied], kind="stable")]
    borders = np.flatnonzero(np.diff(group[order])) + 1
    groups = [candidates[part] for part in np.split(order, borders) if len(part)]
    return sorted(groups, key=lambda group: int(group[0]))


def _finding(
    kind: str,
    severity: Severity,
    subject: AuditedImages,
    groups: Sequence[Positions],
    location: str,
    remedy: str,
) -> list[Finding]:
    if not groups:
        return []
    images = sum(map(len, groups))
    byte_identical = sum(_same_bytes(subject, group) for group in groups)
    byte_copies = f", {byte_identical} of them byte for byte" if byte_identical else ""
    return [
        Finding(
            kind,
            severity,
            f"{pluralize(len(groups), 'image')} in {images} copies {location} "
            f"(identical in every pixel{byte_copies})",
            remedy,
            {"groups": len(groups), "images": images, "groups_byte_for_byte": byte_identical},
            tuple(tuple(map(subject.labelled, group.tolist())) for group in groups),
        )
    ]


def _same_bytes(subject: AuditedImages, group: Positions) -> bool:
    """Return True if all copies are files of the same bytes."""
    hashes = {subject.file_hashes[i] for i in group}
    return len(hashes) == 1 and None not in hashes


def _other_labels(subject: AuditedImages, groups: Sequence[Positions]) -> list[Finding]:
    differing = [group for group in groups if len(set(subject.labels[group])) > 1]
    if not differing:
        return []
    # Next to a copy of known label, "different labels" would reveal the label of a test image.
    without_test_images = [group for group in differing if SEALED not in subject.split[group]]
    return [
        Finding(
            OTHER_LABELS,
            "warning",
            f"{pluralize(len(differing), 'image')} whose exact copies carry different labels",
            "one of the labels is wrong; correct it, or remove all the copies",
            {
                "groups": len(differing),
                "groups_with_test_images": len(differing) - len(without_test_images),
            },
            tuple(tuple(map(subject.labelled, group.tolist())) for group in without_test_images),
        )
    ]
