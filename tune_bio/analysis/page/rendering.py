"""Rendering of templates as pages that run their own scripts only."""

import base64
import hashlib
import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_bio.analysis.page.markdown_html import inline
from tune_bio.errors import ResultsError

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

HERE = Path(__file__).parent
# BokehJS, as its package ships it. Models that build functions from strings, such as CustomJS, are
# not used, because the page's policy forbids them.
BOKEH_FILES = ("server/static/js/bokeh.min.js", "server/static/js/bokeh-api.min.js")
# "</script" within a script would end its element. A backslash before the slash prevents this, and
# has no effect in JavaScript's strings and regular expressions.
_END_OF_SCRIPT = re.compile(r"</(?=script)", re.IGNORECASE)


def render(template: str, content: dict[str, Any]) -> str:
    """Render a template of this folder; all values are escaped.

    Args:
        template: the name of the .html file.
        content: the values of the template. BokehJS is embedded if they include `plots`, the data
            of plots.js.
    """
    names = ["table.js", *(["plots.js"] if "plots" in content else [])]
    scripts = [_read(name) for name in names]
    if "plots" in content:
        scripts = [*bokeh(), *scripts]
    page: str = (
        _templates()
        .get_template(template)
        .render(
            **content,
            style=_safe(_read("page.css")),
            policy=policy(scripts),
            scripts=[_safe(script) for script in scripts],
        )
    )
    return page


def policy(scripts: list[str]) -> str:
    """Return the Content-Security-Policy that allows these scripts to run and nothing to load.

    Inline styles are allowed, since BokehJS writes its own; they cannot load anything either.
    """
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def bokeh() -> list[str]:
    """Read BokehJS from the installed package, which is not imported because that is slow.

    Raises:
        ResultsError: the package is not installed properly.
    """
    spec = find_spec("bokeh")
    folder = Path(spec.origin).parent if spec and spec.origin else HERE
    try:
        texts = [(folder / name).read_text(encoding="utf-8") for name in BOKEH_FILES]
    except OSError as error:
        raise ResultsError(
            f"the plotting library BokehJS cannot be read ({error})", "reinstall bokeh"
        ) from error
    return [_END_OF_SCRIPT.sub(r"<\\/", text) for text in texts]


def as_json(value: object) -> "Markup":
    """Convert a value to JSON that is safe in a script element, which no text in it can end."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _safe(text.replace("<", "\\u003c").replace("\u2028", "\\u2028"))


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"as_json": as_json, "inline": inline}
    return environment


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _safe(text: str) -> "Markup":
    from markupsafe import Markup

    return Markup(text)  # a file of this package, or text that was made safe
