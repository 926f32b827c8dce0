"""Classes: how many of each, whether the splits hold the same share of them, and whether enough."""

import numpy as np
from scipy import stats

from tune_bio.common.labels import pluralize
from tune_bio.datasets.audit.audited_images import AuditedImages
from tune_bio.datasets.audit.findings import Counts, Finding

SHIFT, IMBALANCE, FEW_PATIENTS = "class_shift", "class_imbalance", "few_validation_patients"
FEWEST_PATIENTS = 30  # of a class in validation
RARE = 0.2  # of an even share: 10 % of two classes; below it accuracy says little
LEVEL, SMALL_EFFECT = 0.01, 0.1  # of the test; Cramer's V (Cohen 1988: 0.1 is a small effect)


def check_classes(subject: AuditedImages) -> list[Finding]:
    """Shift between splits, imbalance, and too few patients to validate on."""
    counts = subject.counts()
    unit = "patients" if subject.patients_known else "images"
    return [*_shift(counts, unit), *_few(counts, unit), *_imbalance(counts)]


def _shift(counts: Counts, unit: str) -> list[Finding]:
    """Pearson's chi-square test over splits and classes; of patients, since images of one are not
    independent of each other."""
    table = np.array([[each[unit] for each in classes.values()] for classes in counts.values()])
    p = float(stats.chi2_contingency(table).pvalue)
    strength = float(stats.contingency.association(table, method="cramer"))
    if p >= LEVEL or strength < SMALL_EFFECT:
        return []
    shares = table / table.sum(axis=1, keepdims=True)
    k = int(np.argmax(np.ptp(shares, axis=0)))
    name = list(counts["train"])[k]
    told = ", ".join(
        f"{share:.0%} of {split}" for split, share in zip(counts, shares[:, k], strict=True)
    )
    return [
        Finding(
            SHIFT,
            "warning",
            f"the splits differ in their classes: {name} is {told} (by {unit}; "
            f"Cramer's V {strength:.2f}, p {p:.1g})",
            "scores on them are not comparable; find out why they differ, or split anew, "
            "stratified by class",
            {"cramers_v": strength, "p": p},
        )
    ]


def _few(counts: Counts, unit: str) -> list[Finding]:
    few = {n: each[unit] for n, each in counts["val"].items() if each[unit] < FEWEST_PATIENTS}
    if not few:
        return []
    told = ", ".join(f"{name} has {count}" for name, count in few.items())
    return [
        Finding(
            FEW_PATIENTS,
            "warning",
            f"classes with fewer than {FEWEST_PATIENTS} {unit} in validation: {told}",
            "configurations can hardly be ranked on so few; add patients, or give a larger "
            "validation split",
            few,
        )
    ]


def _imbalance(counts: Counts) -> list[Finding]:
    each = {name: count["images"] for name, count in counts["train"].items()}
    total = sum(each.values())
    rare = {name: count for name, count in each.items() if count < RARE * total / len(each)}
    if not rare:
        return []
    told = ", ".join(f"{name} {count / total:.1%}" for name, count in rare.items())
    return [
        Finding(
            IMBALANCE,
            "note",
            f"{pluralize(len(rare), 'rare class', 'rare classes')} among the {total} images of "
            f"train ({told})",
            "judge by val_auroc or val_balanced_accuracy, and try class_weights=balanced",
            rare,
        )
    ]
