"""The sections of the summary, for the page: whatever it tells, the page tells too."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tune_bio.analysis.page.markdown_html import block

if TYPE_CHECKING:
    from markupsafe import Markup

EARLY = ("Confirmation", "Every configuration")  # before the leaderboard
LATE = ("Data", "Left out, and why", "Methods, as far as they are known here", "How to read this")
NOT_AGAIN = ("Best trials of the search",)  # the leaderboard has them all
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Section:
    """A heading, the name that links use, and what stands under it."""

    heading: str
    anchor: str
    html: "Markup"

    @property
    def short(self) -> str:
        """For a row of links."""
        return self.heading.partition(",")[0]


@dataclass(frozen=True)
class Sections:
    """Those before the leaderboard, those behind the curves, and those behind the figures."""

    early: tuple[Section, ...]
    middle: tuple[Section, ...]
    late: tuple[Section, ...]


def sections(parts: Iterable[str]) -> Sections:
    """What stands under headings of the second level, in the summary's order.

    Args:
        parts: of the summary, in Markdown; what stands before the first heading is left out.
    """
    pieces = _HEADING.split("\n\n".join(parts))[1:]
    found = [
        _section(heading.strip(), text)
        for heading, text in zip(pieces[::2], pieces[1::2], strict=True)
        if heading.strip() not in NOT_AGAIN
    ]
    return Sections(
        tuple(one for one in found if one.heading in EARLY),
        tuple(one for one in found if one.heading not in (*EARLY, *LATE)),
        tuple(one for one in found if one.heading in LATE),
    )


def _section(heading: str, text: str) -> Section:
    anchor = re.sub(r"[^a-z0-9]+", "-", heading.partition(",")[0].lower()).strip("-")
    return Section(heading, anchor, block(text, f"h-{anchor}"))
