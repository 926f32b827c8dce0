"""Check the classes: imbalance, shift between splits, and enough patients for validation."""

import numpy as np
from scipy import stats

from tune_bio.common.labels import pluralize
from tune_bio.datasets.audit.audited_images import AuditedImages
from tune_bio.datasets.audit.findings import Counts, Finding

SHIFT, IMBALANCE, FEW_PATIENTS = "class_shift", "class_imbalance", "few_validation_patients"
MIN_PATIENTS = 30  # per class in validation
RARE = 0.2  # of an even share: 10 % of two classes; below this, accuracy says little
LEVEL, SMALL_EFFECT = 0.01, 0.1  # p value; Cramer's V (Cohen 1988: 0.1 is a small effect)


def check_classes(subject: AuditedImages) -> list[Finding]:
    """Look for a shift between splits, too few patients for validation, and imbalance."""
    counts = subject.counts()
    unit = "patients" if subject.patients_known else "images"
    return [*_shift(counts, unit), *_few_patients(counts, unit), *_imbalance(counts)]


def _shift(counts: Counts, unit: str) -> list[Finding]:
    """Test for a shift with Pearson's chi-square test over splits and classes.

    The test counts patients if they are known, since images of one patient are not independent.
    """
    table = np.array([[count[unit] for count in classes.values()] for classes in counts.values()])
    p = float(stats.chi2_contingency(table).pvalue)
    strength = float(stats.contingency.association(table, method="cramer"))
    if p >= LEVEL or strength < SMALL_EFFECT:
        return []
    shares = table / table.sum(axis=1, keepdims=True)
    k = int(np.argmax(np.ptp(shares, axis=0)))
    name = list(counts["train"])[k]
    split_shares = ", ".join(
        f"{share:.0%} of {split}" for split, share in zip(counts, shares[:, k], strict=True)
    )
    return [
        Finding(
            SHIFT,
            "warning",
            f"the splits differ in their classes: {name} is {split_shares} (by {unit}; "
            f"Cramer's V {strength:.2f}, p {p:.1g})",
            "scores on them are not comparable; find out why they differ, or split again, "
            "stratified by class",
            {"cramers_v": strength, "p": p},
        )
    ]


def _few_patients(counts: Counts, unit: str) -> list[Finding]:
    few = {n: count[unit] for n, count in counts["val"].items() if count[unit] < MIN_PATIENTS}
    if not few:
        return []
    summary = ", ".join(f"{name} has {count}" for name, count in few.items())
    return [
        Finding(
            FEW_PATIENTS,
            "warning",
            f"classes with fewer than {MIN_PATIENTS} {unit} in validation: {summary}",
            "configurations can hardly be ranked on so few; add patients, or give a larger "
            "validation split",
            few,
        )
    ]


def _imbalance(counts: Counts) -> list[Finding]:
    images = {name: count["images"] for name, count in counts["train"].items()}
    total = sum(images.values())
    rare = {name: count for name, count in images.items() if count < RARE * total / len(images)}
    if not rare:
        return []
    shares = ", ".join(f"{name} {count / total:.1%}" for name, count in rare.items())
    return [
        Finding(
            IMBALANCE,
            "note",
            f"{pluralize(len(rare), 'rare class', 'rare classes')} among the {total} images of "
            f"train ({shares})",
            "judge by val_auroc or val_balanced_accuracy, and try class_weights=balanced",
            rare,
        )
    ]
