"""Validation of named values, with one-line errors that state the fault and the valid values."""

import difflib
from collections.abc import Collection, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tune_bio.errors import ConfigError

M = TypeVar("M", bound=BaseModel)
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


class ImmutableModel(BaseModel):
    """Base class of immutable, validated values."""

    # Exact types: `True` is not a number of epochs, and "3" in a JSON file is a mistake.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


def check_names(names: Collection[str], *, known: Collection[str], kind: str) -> None:
    """Raise ConfigError for the first name that is not `known`, with the closest known name."""
    for name in names:
        if name not in known:
            matches = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {matches[0]!r}? " if matches else ""
            raise ConfigError(
                f"unknown {kind} {name!r}", f"{hint}known: {', '.join(sorted(known))}"
            )


def validated(cls: type[M], values: Mapping[str, Any], kind: str) -> M:
    """Return an instance of `cls`; raise ConfigError for the first value that is not possible."""
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else kind
        if first["type"] == "missing":
            raise ConfigError(
                f"the required {name!r} is missing", f"every trial needs a {name}"
            ) from None
        remedy = _allowed_values(cls, name) or first["msg"][:1].lower() + first["msg"][1:]
        raise ConfigError(f"{name}={first['input']!r} is not possible", remedy) from None


def _allowed_values(cls: type[BaseModel], name: str) -> str:
    schema = cls.model_json_schema()["properties"][name]
    values = schema.get("enum") or schema.get("examples")
    return "one of " + ", ".join(values) if values else ""
