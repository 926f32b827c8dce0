"""The results of an audit: findings, each with a remedy, and counts by split and class."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

from tune_bio.datasets.decoding.parallel import Progress, no_progress

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

PATIENTS_ACROSS, COPIES_ACROSS = "patients_across_splits", "copies_across_splits"
LEAKS = (PATIENTS_ACROSS, COPIES_ACROSS)

# Split to class to {"images": n, "patients": n}; no "patients" if they are unknown.
Counts = Mapping[str, Mapping[str, Mapping[str, int]]]

# Opens a named stage of the work and yields a function to call with (done, all).
StageProgress = Callable[[str], AbstractContextManager[Progress]]


def no_progress_bar(what: str) -> AbstractContextManager[Progress]:
    """Open a stage without showing it."""
    return nullcontext(no_progress)


@dataclass(frozen=True)
class AffectedImage:
    """An image or a patient that a finding is about, and its split.

    `detail` never contains the label of an image of the test split.
    """

    name: str
    split: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(filter(None, (self.split, self.detail)))})"

    def to_json(self) -> dict[str, str]:
        """Return a dictionary for a JSON file, without the detail if it is empty."""
        fields = {"name": self.name, "split": self.split, "detail": self.detail}
        return {key: value for key, value in fields.items() if value or key != "detail"}


# Entries that belong together: copies of one image, or the splits of one patient.
Group = tuple[AffectedImage, ...]


@dataclass(frozen=True)
class Finding:
    """A problem of a source, or a property that a reader should know.

    kind: its name, stable between versions.
    severity: "error" stops a search; "warning" may spoil its results; "note" is good to know.
    fault, remedy: sentences without a full stop, like those of an error.
    counts: numbers that describe the finding, by name.
    groups: the affected images or patients; groups of one if they are unrelated.
    """

    kind: str
    severity: Severity
    fault: str
    remedy: str
    counts: Mapping[str, float] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()

    @property
    def message(self) -> str:
        """Fault and remedy in one line."""
        return " ".join(f"{self.fault}: {self.remedy}".split())

    def to_json(self, max_groups: int | None = None) -> dict[str, Any]:
        """Return a dictionary for a JSON file, with at most `max_groups` groups (default: all)."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "message": self.message,
            "counts": dict(self.counts),
            "concerned": [
                [image.to_json() for image in group] for group in self.groups[:max_groups]
            ],
        }


@dataclass(frozen=True)
class Audit:
    """The findings of one source, in order of severity.

    source: the name of the source.
    split: a sentence on where the splits come from.
    counts: images and patients by split and class.
    findings: errors first, then warnings, then notes.
    method: settings of the search for copies.
    """

    source: str
    split: str
    counts: Counts
    findings: tuple[Finding, ...]
    method: Mapping[str, Any] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that would stop a search."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """Errors that are leaks between the source's own splits; `--allow-leakage` accepts them."""
        return tuple(finding for finding in self.errors if finding.kind in LEAKS)

    def of(self, kind: str) -> Finding | None:
        """Return the finding of a kind; None if there is no such finding."""
        return next((finding for finding in self.findings if finding.kind == kind), None)

    def to_json(self, max_groups: int | None = None) -> dict[str, Any]:
        """Return a dictionary for a JSON file.

        Each finding has at most `max_groups` groups (default: all).
        """
        return {
            "source": self.source,
            "split": self.split,
            "counts": {
                split: {name: dict(count) for name, count in classes.items()}
                for split, classes in self.counts.items()
            },
            "method": dict(self.method),
            "findings": [finding.to_json(max_groups) for finding in self.findings],
        }


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort findings by severity, otherwise keep their order."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def singles(images: Sequence[AffectedImage]) -> tuple[Group, ...]:
    """Return one group per image."""
    return tuple((image,) for image in images)
