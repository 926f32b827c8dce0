"""Pins: hyperparameters that are fixed for every trial (`--set KEY=VALUE`)."""

import json
from collections.abc import Mapping
from typing import Any

from tune_bio.errors import ConfigError
from tune_bio.space.trial_config import HYPERPARAMETERS, Params, TrialConfig, Value
from tune_bio.space.validation import check_names, validated


def parse_assignment(text: str) -> tuple[str, Value]:
    """Parse KEY=VALUE; numbers and true/false are read as in JSON, everything else is a string."""
    key, separator, raw = text.partition("=")
    if not separator or not key or not raw:
        raise ConfigError(f"--set {text!r} is not KEY=VALUE", "write, for example, --set lr=0.001")
    check_names([key], known=HYPERPARAMETERS | {"seed"}, kind="hyperparameter")
    try:
        value = json.loads(raw)
    except json.JSONDecodeError:
        value = raw
    value = value if isinstance(value, (str, int, float, bool)) else raw
    check_pins({key: value})
    return key, value


def check_pins(pins: Mapping[str, Any]) -> Params:
    """Return valid pins as a dictionary; raise ConfigError for an unknown name or invalid value."""
    check_names(pins, known=HYPERPARAMETERS | {"seed"}, kind="hyperparameter")
    for name, value in pins.items():
        validated(TrialConfig, {"model": "ann", name: value}, "hyperparameter")
    return dict(pins)
