"""What an audit says: findings, each with what to do about it, and the counts beneath them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

from tune_bio.datasets.decoding.parallel import Progress, no_progress

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

PATIENTS_ACROSS, COPIES_ACROSS = "patients_across_splits", "copies_across_splits"
LEAKS = (PATIENTS_ACROSS, COPIES_ACROSS)

# Split to class to {"images": n, "patients": n}; without patients where they are not known.
Counts = Mapping[str, Mapping[str, Mapping[str, int]]]

# Opens a stage of the work, named for people; what it yields is called with (done, all).
StageProgress = Callable[[str], AbstractContextManager[Progress]]


def no_progress_bar(what: str) -> AbstractContextManager[Progress]:
    """Tell nobody of a stage."""
    return nullcontext(no_progress)


@dataclass(frozen=True)
class AffectedImage:
    """An image or a patient that a finding is about, and its split; of images of the test split
    `detail` never tells the label."""

    name: str
    split: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(filter(None, (self.split, self.detail)))})"

    def to_json(self) -> dict[str, str]:
        """As plain JSON; without the detail where there is none."""
        told = {"name": self.name, "split": self.split, "detail": self.detail}
        return {key: value for key, value in told.items() if value or key != "detail"}


Group = tuple[
    AffectedImage, ...
]  # what belongs together: copies, the sides that a patient stands on


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a source, or that a reader should know.

    kind: its name, the same from version to version.
    severity: "error" stops a search; "warning" may spoil its results; "note" is good to know.
    fault, remedy: sentences without a full stop, as those of an error.
    counts: what was counted, by name.
    groups: the images or patients concerned; a group of one where each stands alone.
    """

    kind: str
    severity: Severity
    fault: str
    remedy: str
    counts: Mapping[str, float] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()

    @property
    def message(self) -> str:
        """One line: what is wrong, and what to do."""
        return " ".join(f"{self.fault}: {self.remedy}".split())

    def to_json(self, most: int | None = None) -> dict[str, Any]:
        """As plain JSON, with the first `most` groups."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "message": self.message,
            "counts": dict(self.counts),
            "concerned": [[each.to_json() for each in group] for group in self.groups[:most]],
        }


@dataclass(frozen=True)
class Audit:
    """What was found in a source, the worst first.

    split: a sentence on where the splits come from.
    counts: images and patients by split and class.
    method: how copies were looked for.
    """

    source: str
    split: str
    counts: Counts
    findings: tuple[Finding, ...]
    method: Mapping[str, Any] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What would stop a search."""
        return tuple(found for found in self.findings if found.severity == "error")

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """Those errors that are leaks between given splits: `--allow-leakage` lets them pass."""
        return tuple(found for found in self.errors if found.kind in LEAKS)

    def of(self, kind: str) -> Finding | None:
        """The finding of a kind; None where there is none."""
        return next((found for found in self.findings if found.kind == kind), None)

    def to_json(self, most: int | None = None) -> dict[str, Any]:
        """As plain JSON; of each finding the first `most` groups (all by default)."""
        return {
            "source": self.source,
            "split": self.split,
            "counts": {
                split: {name: dict(each) for name, each in classes.items()}
                for split, classes in self.counts.items()
            },
            "method": dict(self.method),
            "findings": [found.to_json(most) for found in self.findings],
        }


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings by severity, otherwise in their order."""
    return tuple(sorted(findings, key=lambda found: SEVERITIES.index(found.severity)))


def singles(affected: Sequence[AffectedImage]) -> tuple[Group, ...]:
    """Groups of one."""
    return tuple((affected_image,) for affected_image in affected)
