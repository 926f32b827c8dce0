"""The sections of the summary on the page, which omits none of its content."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tune_bio.analysis.page.markdown_html import block

if TYPE_CHECKING:
    from markupsafe import Markup

EARLY = ("Confirmation", "All configurations")  # before the leaderboard
LATE = ("Data", "Omissions, with reasons", "Methods", "How to read this report")
REDUNDANT = ("Best trials of the search",)  # the leaderboard lists all trials
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Section:
    """A heading, the anchor that links use, and the content below the heading."""

    heading: str
    anchor: str
    html: "Markup"

    @property
    def short(self) -> str:
        """The heading as it appears in the navigation."""
        return self.heading.partition(",")[0]


@dataclass(frozen=True)
class Sections:
    """Sections before the leaderboard, after the curves, and after the figures."""

    early: tuple[Section, ...]
    middle: tuple[Section, ...]
    late: tuple[Section, ...]


def sections(parts: Iterable[str]) -> Sections:
    """Split the summary at its second-level headings, in the summary's order.

    Args:
        parts: the parts of the summary, in Markdown; text before the first heading is dropped.
    """
    pieces = _HEADING.split("\n\n".join(parts))[1:]
    content = [
        _section(heading.strip(), text)
        for heading, text in zip(pieces[::2], pieces[1::2], strict=True)
        if heading.strip() not in REDUNDANT
    ]
    return Sections(
        tuple(section for section in content if section.heading in EARLY),
        tuple(section for section in content if section.heading not in (*EARLY, *LATE)),
        tuple(section for section in content if section.heading in LATE),
    )


def _section(heading: str, text: str) -> Section:
    anchor = re.sub(r"[^a-z0-9]+", "-", heading.partition(",")[0].lower()).strip("-")
    return Section(heading, anchor, block(text, f"h-{anchor}"))
