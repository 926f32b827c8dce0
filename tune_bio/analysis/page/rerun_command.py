"""The command that runs a study again."""

import shlex
from pathlib import Path
from typing import Any

from tune_bio.space.settings import SearchSettings

ENTRIES = ("search.py", "tune_bio")  # python -m tune_bio.search, and the script that pip installs
NOT_AGAIN = ("--resume",)  # the folder is a fresh one


def command_of(manifest: dict[str, Any]) -> str:
    """The command on record; of a study that a program ran, one that asks for the same."""
    entry, *arguments = manifest.get("command") or [""]
    if Path(entry).name in ENTRIES and arguments:
        words = [word for word in arguments if word not in NOT_AGAIN]
    else:
        words = _assembled(manifest)
    return "python -m tune_bio.search " + shlex.join(words)


def _assembled(manifest: dict[str, Any]) -> list[str]:
    """From the settings that are not the defaults, and the pins."""
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
