"""Validation of named values: one line that names the fault and what would be right."""

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
    """Values that are checked once and never change."""

    # Exact types: `True` is not a number of epochs, and "3" in a JSON file is a mistake.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


def check_names(names: Collection[str], *, known: Collection[str], kind: str) -> None:
    """Raise ConfigError for the first name that is not `known`, with the nearest that is."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"unknown {kind} {name!r}", f"{hint}known: {', '.join(sorted(known))}"
            )


def validated(cls: type[M], values: Mapping[str, Any], kind: str) -> M:
    """An instance of `cls`; raises ConfigError for the first value that is not possible."""
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else kind
        if first["type"] == "missing":
            raise ConfigError(f"no {name!r} is given", f"every trial needs a {name}") from None
        remedy = _allowed(cls, name) or first["msg"][:1].lower() + first["msg"][1:]
        raise ConfigError(f"{name}={first['input']!r} is not possible", remedy) from None


def _allowed(cls: type[BaseModel], name: str) -> str:
    schema = cls.model_json_schema()["properties"][name]
    named = schema.get("enum") or schema.get("examples")
    return "one of " + ", ".join(named) if named else ""
