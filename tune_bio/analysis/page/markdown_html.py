"""The summary's Markdown as HTML: headings, tables, lists, emphasis, and no more.

No HTML passes, no link and no image is made: names of files and classes stand in these texts.
"""

from collections.abc import Sequence
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token
    from markupsafe import Markup

LEFT_OUT = ["link", "image", "autolink", "html_inline", "html_block", "reference", "code"]
SHORT = 28  # characters of a cell that stay on one line


def inline(text: str) -> "Markup":
    """A line of Markdown; what is not emphasis or code is escaped."""
    return _safe(_parser().renderInline(text))


def block(text: str, label: str) -> "Markup":
    """Paragraphs, lists and tables; tables scroll by themselves, labelled by the element `label`.

    Args:
        text: in Markdown.
        label: the id of the heading above it.
    """
    parser = _parser()
    tokens = parser.parse(text, {})
    _mend(tokens)
    return _safe(parser.renderer.render(tokens, parser.options, {"label": label}))


def _mend(tokens: "Sequence[Token]") -> None:
    """Heads have a scope, a row's first cell is its head, and short cells stay on one line."""
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

    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(LEFT_OUT)
    parser.add_render_rule("table_open", _open_table)
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return parser


def _open_table(renderer: Any, tokens: Any, place: int, options: Any, env: Any) -> str:
    region = f'role="region" aria-labelledby="{env["label"]}"'
    return f'<div class="scroll" tabindex="0" {region}><table>\n'


def _safe(html: str) -> "Markup":
    from markupsafe import Markup

    return Markup(html)
