"""Patients on more than one side of a split, and patients that nobody tells."""

from collections import defaultdict
from collections.abc import Iterable

from tune_bio.common.labels import pluralize
from tune_bio.datasets.audit.audited_images import AuditedImages
from tune_bio.datasets.audit.findings import (
    PATIENTS_ACROSS,
    AffectedImage,
    Finding,
)

UNKNOWN = "patients_unknown"
SPLITS = ("train", "val", "test")


def check_patients(subject: AuditedImages) -> list[Finding]:
    """Patients in several of the given splits; that they are unknown, where they are."""
    if not subject.patients_known:
        return [patients_unknown()]
    return patients_across(zip(subject.patients.tolist(), subject.given.tolist(), strict=True))


def patients_across(pairs: Iterable[tuple[str, str]]) -> list[Finding]:
    """Patients in several splits, from (patient, split) of each image; no pixel is needed."""
    sides: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for patient, split in pairs:
        sides[patient][split] = sides[patient].get(split, 0) + 1
    leaking = {patient: counts for patient, counts in sides.items() if len(counts) > 1}
    if not leaking:
        return []
    images = sum(sum(counts.values()) for counts in leaking.values())
    groups = tuple(
        tuple(
            AffectedImage(patient, s, pluralize(counts[s], "image")) for s in SPLITS if s in counts
        )
        for patient, counts in leaking.items()
    )
    return [
        Finding(
            PATIENTS_ACROSS,
            "error",
            f"{pluralize(len(leaking), 'patient')} of {len(sides)} with images in more than one "
            f"split ({pluralize(images, 'image')})",
            "scores will be too good; move all images of a patient into one split, or give the "
            "images without splits and have them split by patient",
            {"patients": len(leaking), "images": images, "of_patients": len(sides)},
            groups,
        )
    ]


def patients_unknown() -> Finding:
    """Nothing tells the patients."""
    return Finding(
        UNKNOWN,
        "warning",
        "patients are unknown, so images of one may stand in two splits and nobody can tell",
        "give file names with --patient-pattern, a metadata.csv with a column 'patient', or arrays "
        "of patients",
    )
