"""`--configs`: the configurations of a list, instead of a search."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from tune_bio.errors import ConfigError
from tune_bio.records.schema import TRIALS
from tune_bio.space.trial_config import Params, TrialConfig


def read_configurations(path: Path) -> list[Params]:
    """`--configs`: a JSON list of flat objects, or a trials.parquet.

    Raises:
        ConfigError: neither of the two.
    """
    if not path.is_file():
        raise ConfigError(
            f"no file {str(path)!r}", "give a JSON list of objects, or a trials.parquet"
        )
    if path.suffix == ".parquet":
        return _from_table(path)
    try:
        listed: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON ({error})", "give a list of flat objects") from error
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise ConfigError(f"{path} holds no list of objects", 'write [{"model": "ann"}, ...]')
    if not listed:
        raise ConfigError(f"{path} lists nothing", "list one configuration or more")
    return listed


def _from_table(path: Path) -> list[Params]:
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error})", f"give a {TRIALS}") from error
    return configurations_of(table)


def configurations_of(table: pd.DataFrame) -> list[Params]:
    """The hyperparameters and seed of each row of a trials.parquet, those that are active."""
    columns = [c for c in table.columns if c.startswith("params.") or c == "seed"]
    integers = {n for n, f in TrialConfig.model_fields.items() if f.annotation is int}
    configurations: list[Params] = []
    for _, row in table[columns].iterrows():
        params = {c.removeprefix("params."): row[c] for c in columns if pd.notna(row[c])}
        # A column of numbers has one type: whole widths come back as 64.0.
        whole = {k for k, v in params.items() if k == "width" and not isinstance(v, str)}
        configurations.append(
            {k: int(v) if k in integers | whole else v for k, v in params.items()}
        )
    return configurations
