"""Who the patient of an image is: told by a pattern, or by a naming that is known."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from tune_bio.errors import DataError

# The naming of the paediatric chest X-ray set (Kermany 2018). The number alone is the patient:
# the same number may name another child among "bacteria" and "virus", and one group too large
# is safe where one too small would leak.
_CHEST_XRAY = re.compile(r"(person\d+)_(?:bacteria|virus)_|((?:NORMAL2-)?IM-\d+)-")


@dataclass(frozen=True)
class PatientNames:
    """One patient an image; an image whose patient is not told is a patient of its own."""

    each: tuple[str, ...]
    known: bool
    notes: tuple[str, ...] = ()


def patients_from_column(names: Sequence[str], patients: Sequence[str]) -> PatientNames:
    """The patients that a table tells; empty where it does not."""
    return _completed(names, list(patients), "rows of metadata.csv")


def patients_from_names(names: Sequence[str], pattern: str | None) -> PatientNames:
    """The patients that file names tell.

    Args:
        names: paths relative to the source, with forward slashes.
        pattern: a regular expression, searched in each name: its group "patient" is the patient,
            else its first group, else the whole match. None: the known chest X-ray naming.

    Raises:
        DataError: the pattern is none, or matches nothing.
    """
    if pattern is None:
        return _chest_xray(names)
    found = [_match(_compiled(pattern), name) for name in names]
    if not any(found):
        raise DataError(
            f"--patient-pattern {pattern!r} matches no file name, such as {names[0]!r}",
            "it is searched in the path within the folder; put the patient into a group ( )",
        )
    return _completed(names, found, "file names")


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise DataError(
            f"--patient-pattern {pattern!r} is no regular expression ({error})",
            r"write for example '(patient\d+)_'",
        ) from error


def _match(pattern: re.Pattern[str], name: str) -> str:
    """The patient in a name; empty where there is none."""
    match = pattern.search(name)
    if match is None:
        return ""
    group: str | int = "patient" if "patient" in pattern.groupindex else min(pattern.groups, 1)
    return match[group] or ""


def _chest_xray(names: Sequence[str]) -> PatientNames:
    matches = [_CHEST_XRAY.match(PurePosixPath(name).stem) for name in names]
    if sum(map(bool, matches)) < len(names) / 2:  # another set, a few names of which look alike
        return PatientNames(tuple(names), known=False)
    found = [(match[1] or match[2]) if match else "" for match in matches]
    return _completed(names, found, "file names")


def _completed(names: Sequence[str], found: Sequence[str], where: str) -> PatientNames:
    unnamed = sum(not patient for patient in found)
    notes = (f"{unnamed} {where} carry no patient; each counts as a patient of its own",)
    each = tuple(patient or name for patient, name in zip(found, names, strict=True))
    return PatientNames(each, known=True, notes=notes if unnamed else ())
