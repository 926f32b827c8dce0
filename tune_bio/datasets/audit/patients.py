"""Find patients with images in more than one split, and sources without patients."""

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
    """Look for patients in several of the source's own splits, or report that they are unknown."""
    if not subject.patients_known:
        return [patients_unknown()]
    return patients_across(
        zip(subject.patients.tolist(), subject.source_split.tolist(), strict=True)
    )


def patients_across(pairs: Iterable[tuple[str, str]]) -> list[Finding]:
    """Look for patients in several splits, from the (patient, split) of each image."""
    by_patient: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for patient, split in pairs:
        by_patient[patient][split] = by_patient[patient].get(split, 0) + 1
    leaking = {patient: counts for patient, counts in by_patient.items() if len(counts) > 1}
    if not leaking:
        return []
    images = sum(sum(counts.values()) for counts in leaking.values())
    groups = tuple(
        tuple(
            AffectedImage(patient, split, pluralize(counts[split], "image"))
            for split in SPLITS
            if split in counts
        )
        for patient, counts in leaking.items()
    )
    return [
        Finding(
            PATIENTS_ACROSS,
            "error",
            f"{pluralize(len(leaking), 'patient')} of {len(by_patient)} with images in more than "
            f"one split ({pluralize(images, 'image')})",
            "scores will be too good; move all images of a patient into one split, or give the "
            "images without splits and have them split by patient",
            {"patients": len(leaking), "images": images, "of_patients": len(by_patient)},
            groups,
        )
    ]


def patients_unknown() -> Finding:
    """Report that the patients are unknown."""
    return Finding(
        UNKNOWN,
        "warning",
        "patients are unknown, so images of one patient may be in two splits unnoticed",
        "give --patient-pattern for the file names, a metadata.csv with a column 'patient', or "
        "arrays of patients",
    )
