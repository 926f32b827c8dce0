"""Conversion of the summary's Markdown to HTML: headings, tables, lists and emphasis only.

Raw HTML is escaped, and links and images are disabled, because the texts contain names of files
and classes that others chose.
"""

from collections.abc import Sequence
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token
    from markupsafe import Markup

DISABLED = ["link", "image", "autolink", "html_inline", "html_block", "reference", "code"]
SHORT = 28  # characters; shorter cells stay on one line


def inline(text: str) -> "Markup":
    """Convert a line of Markdown; everything but emphasis and code is escaped."""
    return _safe(_parser().renderInline(text))


def block(text: str, label: str) -> "Markup":
    """Convert paragraphs, lists and tables; each table scrolls in its own region.

    Args:
        text: the Markdown.
        label: the id of the heading above the text, which labels the regions.
    """
    parser = _parser()
    tokens = parser.parse(text, {})
    _annotate(tokens)
    return _safe(parser.renderer.render(tokens, parser.options, {"label": label}))


def _annotate(tokens: "Sequence[Token]") -> None:
    """Make the first cell of a row its heading, scope headings, and mark short and long cells."""
    first = False
    for token, after in zip_longest(tokens, tokens[1:]):
        if token.type == "tr_open":
            first = True
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "td_open" and after is not None:
            if first:
                token.tag = "th"
                token.attrSet("scope", "row")
            else:
                token.attrSet("class", "short" if len(after.content) < SHORT else "long")
        elif token.type == "td_close":
            token.tag, first = ("th" if first else "td"), False
        elif token.type == "blockquote_open":
            token.attrSet("class", "note")


@cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(DISABLED)
    parser.add_render_rule("table_open", _open_table)
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return parser


def _open_table(renderer: Any, tokens: Any, place: int, options: Any, env: Any) -> str:
    region = f'role="region" aria-labelledby="{env["label"]}"'
    return f'<div class="scroll" tabindex="0" {region}><table>\n'


def _safe(html: str) -> "Markup":
    from markupsafe import Markup

    return Markup(html)
