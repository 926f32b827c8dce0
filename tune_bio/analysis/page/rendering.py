"""Templates made into a page that runs its own scripts and nothing else."""

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
# The plots' library, as its package ships it. Its models that build functions from texts (CustomJS
# and its kind) are not used: the page's policy forbids them.
BOKEH_FILES = ("server/static/js/bokeh.min.js", "server/static/js/bokeh-api.min.js")
# A text that ends the element would end the script; in JavaScript's strings and regular
# expressions the backslash changes nothing.
_END_OF_SCRIPT = re.compile(r"</(?=script)", re.IGNORECASE)


def render(template: str, content: dict[str, Any]) -> str:
    """A page of `template`, one of the .html files of this folder; every value is escaped.

    Args:
        template: its name.
        content: its values. With `plots` among them (what plots.js draws) BokehJS is embedded.
    """
    own = ["table.js", *(["plots.js"] if "plots" in content else [])]
    scripts = [_own(name) for name in own]
    if "plots" in content:
        scripts = [*bokeh(), *scripts]
    page: str = (
        _templates()
        .get_template(template)
        .render(
            **content,
            style=_safe(_own("page.css")),
            policy=policy(scripts),
            scripts=[_safe(script) for script in scripts],
        )
    )
    return page


def policy(scripts: list[str]) -> str:
    """The Content-Security-Policy that lets these scripts run, and nothing be fetched.

    Styles may be inline, since BokehJS writes its own; they can fetch nothing either.
    """
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def bokeh() -> list[str]:
    """BokehJS, from the installed package; the package itself takes long to import and is not.

    Raises:
        ResultsError: it is not installed as it should be.
    """
    found = find_spec("bokeh")
    folder = Path(found.origin).parent if found and found.origin else HERE
    try:
        texts = [(folder / name).read_text(encoding="utf-8") for name in BOKEH_FILES]
    except OSError as error:
        raise ResultsError(
            f"the plots' library cannot be read ({error})", "install bokeh again"
        ) from error
    return [_END_OF_SCRIPT.sub(r"<\\/", text) for text in texts]


def as_json(value: object) -> "Markup":
    """A value as JSON that can stand in a script element: no text in it can end that."""
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


def _own(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _safe(text: str) -> "Markup":
    from markupsafe import Markup

    return Markup(text)  # of our own files, or made safe
