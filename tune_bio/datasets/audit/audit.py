"""Audit a data source for problems that would make scores on it wrong.

`audit_dataset` audits an open data set; `audit_source` opens a source, skipping files that cannot
be read; `audit_names` needs only the file names.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tune_bio.datasets.audit.audited_images import AuditedImages
from tune_bio.datasets.audit.class_balance import check_classes
from tune_bio.datasets.audit.defects import check_defects
from tune_bio.datasets.audit.exact_copies import check_copies
from tune_bio.datasets.audit.findings import (
    AffectedImage,
    Audit,
    Finding,
    StageProgress,
    no_progress_bar,
    worst_first,
)
from tune_bio.datasets.audit.image_hashes import HASH_SIDE, hash_images
from tune_bio.datasets.audit.near_copies import LIMIT, check_near_copies
from tune_bio.datasets.audit.open_readable import open_readable, readable_by_names
from tune_bio.datasets.audit.patients import check_patients
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.opening import image_folder
from tune_bio.datasets.sources.collection import default_geometries
from tune_bio.datasets.transforms.geometry import Geometry

__all__ = [
    "AffectedImage",
    "Audit",
    "Audited",
    "Finding",
    "audit_dataset",
    "audit_names",
    "audit_source",
    "has_names",
]


@dataclass(frozen=True)
class Audited:
    """An audit, the audited data set, and the geometry at which its images were compared."""

    audit: Audit
    dataset: Dataset
    geometry: Geometry


def audit_dataset(
    dataset: Dataset,
    *,
    geometry: Geometry | None = None,
    unreadable: Sequence[AffectedImage] = (),
    stage: StageProgress = no_progress_bar,
) -> Audit:
    """Check a data set for problems that would make scores on it wrong.

    For the test split, the audit reports only names, counts, defects and the results of comparing
    hashes.

    Args:
        dataset: the data set with its splits.
        geometry: the geometry at which images are compared; preferably one that they were decoded
            at, uncropped and large (default: a square of their shorter side, at most 224 px).
        unreadable: files that the data set leaves out.
        stage: opens a stage of the work for a progress display; see `findings.StageProgress`.

    Raises:
        DataError: a file changed or vanished; the cache cannot be written.
    """
    geometry = geometry or default_geometries(dataset.size)[0]
    subject = AuditedImages(dataset)
    with stage("hashing images") as progress:
        hashes = hash_images(subject.images, geometry, progress)
    with stage("comparing images") as progress:
        near = check_near_copies(subject, hashes, progress)
    findings = [
        *check_patients(subject),
        *check_copies(subject, hashes),
        *near,
        *check_classes(subject),
        *check_defects(subject, hashes, unreadable),
    ]
    return Audit(
        source=dataset.source,
        split=dataset.split,
        counts=subject.counts(),
        findings=worst_first(findings),
        method={
            "geometry": asdict(geometry),
            "perceptual_hash_bits": HASH_SIDE**2,
            "near_copies_differ_in_bits_at_most": LIMIT,
        },
    )


def audit_source(
    source: str,
    *,
    seed: int = 0,
    positive_class: str | None = None,
    patient_pattern: str | None = None,
    cache_dir: Path | None = None,
    stage: StageProgress = no_progress_bar,
    on_name_findings: Callable[[Sequence[Finding]], None] = lambda findings: None,
) -> Audited:
    """Open a source and audit it; files that cannot be read are reported and left out.

    The other arguments are those of `open_dataset`.

    Args:
        stage: opens a stage of the work for a progress display; see `findings.StageProgress`.
        on_name_findings: called for a folder of image files with the findings of `audit_names`,
            before any image is read.

    Raises:
        DataError: the source cannot be used, even without the files that cannot be read.
    """
    if image_folder(source) is not None:
        on_name_findings(audit_names(source, patient_pattern=patient_pattern))
    readable = open_readable(
        source,
        seed=seed,
        positive_class=positive_class,
        patient_pattern=patient_pattern,
        cache_dir=cache_dir,
        stage=stage,
    )
    geometry = default_geometries(readable.dataset.size)[0]
    audit = audit_dataset(
        readable.dataset, geometry=geometry, unreadable=readable.unreadable, stage=stage
    )
    return Audited(audit, readable.dataset, geometry)


def audit_names(source: str, *, patient_pattern: str | None = None) -> tuple[Finding, ...]:
    """Check the patients that file names give, in seconds; return () for other sources.

    Raises:
        DataError: the folder has an unknown layout, or the pattern matches no file name.
    """
    folder = image_folder(source)
    return () if folder is None else tuple(readable_by_names(folder, patient_pattern))


def has_names(source: str) -> bool:
    """Return True if a source is a folder of image files, whose names may contain patients."""
    return image_folder(source) is not None
