"""Find the patient of each image: from a table, a pattern or a known naming scheme."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from tune_bio.errors import DataError

# The file names of the paediatric chest X-ray set (Kermany 2018). Only the number identifies the
# patient: a "bacteria" and a "virus" image with the same number may be of different children, but a
# group that is too large is safe, while one that is too small would leak.
_CHEST_XRAY = re.compile(r"(person\d+)_(?:bacteria|virus)_|((?:NORMAL2-)?IM-\d+)-")


@dataclass(frozen=True)
class PatientNames:
    """The patient of each image; an image without a known patient counts as its own patient."""

    per_image: tuple[str, ...]
    known: bool
    notes: tuple[str, ...] = ()


def patients_from_column(names: Sequence[str], patients: Sequence[str]) -> PatientNames:
    """Return the patients from a table's column, in which unknown patients are empty."""
    return _fill_unknown(names, list(patients), "rows of metadata.csv")


def patients_from_names(names: Sequence[str], pattern: str | None) -> PatientNames:
    """Return the patients found in file names.

    Args:
        names: paths relative to the source, with forward slashes.
        pattern: regular expression that is searched in each name. The patient is its group
            "patient", else its first group, else the whole match. None: the naming scheme of the
            chest X-ray set.

    Raises:
        DataError: the pattern is not a regular expression, or matches no name.
    """
    if pattern is None:
        return _chest_xray(names)
    patients = [_match(_compiled(pattern), name) for name in names]
    if not any(patients):
        raise DataError(
            f"--patient-pattern {pattern!r} matches no file name, such as {names[0]!r}",
            "it is searched in the path within the folder; put the patient in a group ( )",
        )
    return _fill_unknown(names, patients, "file names")


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise DataError(
            f"--patient-pattern {pattern!r} is not a regular expression ({error})",
            r"write for example '(patient\d+)_'",
        ) from error


def _match(pattern: re.Pattern[str], name: str) -> str:
    """Return the patient in a name, or an empty string."""
    match = pattern.search(name)
    if match is None:
        return ""
    group: str | int = "patient" if "patient" in pattern.groupindex else min(pattern.groups, 1)
    return match[group] or ""


def _chest_xray(names: Sequence[str]) -> PatientNames:
    matches = [_CHEST_XRAY.match(PurePosixPath(name).stem) for name in names]
    if sum(map(bool, matches)) < len(names) / 2:  # another set with a few similar names
        return PatientNames(tuple(names), known=False)
    patients = [(match[1] or match[2]) if match else "" for match in matches]
    return _fill_unknown(names, patients, "file names")


def _fill_unknown(names: Sequence[str], patients: Sequence[str], origin: str) -> PatientNames:
    """Replace each unknown patient by the name of the image."""
    unknown = sum(not patient for patient in patients)
    notes = (f"{unknown} {origin} have no patient; each counts as a separate patient",)
    per_image = tuple(patient or name for patient, name in zip(patients, names, strict=True))
    return PatientNames(per_image, known=True, notes=notes if unknown else ())
