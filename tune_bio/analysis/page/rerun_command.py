"""The command that reproduces a study."""

import shlex
from pathlib import Path
from typing import Any

from tune_bio.space.settings import SearchSettings

ENTRIES = ("search.py", "tune_bio")  # python -m tune_bio.search, and the script that pip installs
DROPPED = ("--resume",)  # a rerun starts in a new folder


def command_of(manifest: dict[str, Any]) -> str:
    """Return the recorded command, or assemble one if a program started the study."""
    entry, *arguments = manifest.get("command") or [""]
    if Path(entry).name in ENTRIES and arguments:
        words = [word for word in arguments if word not in DROPPED]
    else:
        words = _assembled(manifest)
    return "python -m tune_bio.search " + shlex.join(words)


def _assembled(manifest: dict[str, Any]) -> list[str]:
    """Assemble arguments from the settings that differ from the defaults, and from the pins."""
    space = manifest["space"]
    words = [space.get("file", "SPACE.py"), "--name", manifest["name"]]
    defaults = SearchSettings().model_dump()
    for name, value in manifest["settings"].items():
        if value is None or value == defaults.get(name):
            continue
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{name.replace('_', '-')}")
        else:
            words += [flag, str(value)]
    if manifest["settings"]["data"] == defaults["data"] != manifest["data"]["source"]:
        words += ["--data", manifest["data"]["source"]]
    for name, value in space.get("pinned", {}).items():
        words += ["--set", f"{name}={value}"]
    return words
