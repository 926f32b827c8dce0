"""The audit of a data source: what would make its scores wrong, and what to do about it.

`audit_dataset` looks at a data set that is open, `audit_source` opens one by its name, whatever in
it cannot be read; `audit_names` needs nothing but the names of files.
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
    """An audit, the data set that it is of, and the geometry at which it was looked at."""

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
    """Look for whatever would make scores on a data set wrong.

    Of the test split it gives names, hashes' verdicts, counts and defects alone.

    Args:
        dataset: with its splits.
        geometry: at which images are compared; best one that they were decoded at, whole and large
            (by default a square of their shorter side, of 224 px at most).
        unreadable: files that were left out of it.
        stage: opens a stage of the work, for people to see; see `findings.Stage`.

    Raises:
        DataError: a file changed or vanished; the cache cannot be written.
    """
    geometry = geometry or default_geometries(dataset.size)[0]
    subject = AuditedImages(dataset)
    with stage("hashing images") as progress:
        marks = hash_images(subject.images, geometry, progress)
    with stage("comparing images") as progress:
        near = check_near_copies(subject, marks, progress)
    findings = [
        *check_patients(subject),
        *check_copies(subject, marks),
        *near,
        *check_classes(subject),
        *check_defects(subject, marks, unreadable),
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
    tell: Callable[[Sequence[Finding]], None] = lambda findings: None,
) -> Audited:
    """Open a source and audit it; files that cannot be read are told, and left out.

    The arguments are those of `open_dataset`, and:

    Args:
        stage: opens a stage of the work, for people to see.
        tell: called, of a folder of files, with what the names alone tell, before images are read.

    Raises:
        DataError: the source cannot be used, also without the files that cannot be read.
    """
    if image_folder(source) is not None:
        tell(audit_names(source, patient_pattern=patient_pattern))
    opened = open_readable(
        source,
        seed=seed,
        positive_class=positive_class,
        patient_pattern=patient_pattern,
        cache_dir=cache_dir,
        stage=stage,
    )
    geometry = default_geometries(opened.dataset.size)[0]
    audit = audit_dataset(
        opened.dataset, geometry=geometry, unreadable=opened.unreadable, stage=stage
    )
    return Audited(audit, opened.dataset, geometry)


def audit_names(source: str, *, patient_pattern: str | None = None) -> tuple[Finding, ...]:
    """What the names of a folder's files tell of patients, in seconds; () for other sources.

    Raises:
        DataError: a folder of no layout that is known; the pattern matches nothing.
    """
    folder = image_folder(source)
    return () if folder is None else tuple(readable_by_names(folder, patient_pattern))


def has_names(source: str) -> bool:
    """Whether a source is a folder of image files, whose names may tell of patients."""
    return image_folder(source) is not None
