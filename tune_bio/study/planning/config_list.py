"""Configuration lists: `--configs` runs a list instead of a search."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from tune_bio.errors import ConfigError
from tune_bio.records.schema import TRIALS
from tune_bio.space.trial_config import Params, TrialConfig


def read_configurations(path: Path) -> list[Params]:
    """Read a list of configurations: a JSON list of flat objects, or a trials.parquet.

    Raises:
        ConfigError: the file is neither of the two, or the list is empty.
    """
    if not path.is_file():
        raise ConfigError(
            f"file {str(path)!r} does not exist", "give a JSON list of objects, or a trials.parquet"
        )
    if path.suffix == ".parquet":
        return _from_table(path)
    try:
        listed: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error})", "give a list of flat objects") from error
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise ConfigError(f"{path} is not a list of objects", 'write [{"model": "ann"}, ...]')
    if not listed:
        raise ConfigError(f"{path} lists no configuration", "list at least one")
    return listed


def _from_table(path: Path) -> list[Params]:
    try:
        with path.open("rb") as stream:  # opened once: the study may still be running
            table = pd.read_parquet(stream)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error})", f"give a {TRIALS}") from error
    return configurations_of(table)


def configurations_of(table: pd.DataFrame) -> list[Params]:
    """Return the active hyperparameters and the seed of each row of a trials.parquet."""
    columns = [name for name in table.columns if name.startswith("params.") or name == "seed"]
    integers = {name for name, field in TrialConfig.model_fields.items() if field.annotation is int}
    configurations: list[Params] = []
    for _, row in table[columns].iterrows():
        params = {
            name.removeprefix("params."): row[name] for name in columns if pd.notna(row[name])
        }
        # A column of numbers has one type: whole widths come back as 64.0.
        widths = {
            name for name, value in params.items() if name == "width" and not isinstance(value, str)
        }
        configurations.append(
            {
                name: int(value) if name in integers | widths else value
                for name, value in params.items()
            }
        )
    return configurations
