"""Search spaces: plain Python files in Optuna's define-by-run style.

A space is run against a source of values (a sampler, or the walker that enumerates all branches).
`_ConstrainedTrial` connects the two: it checks the hyperparameters' names, applies the pins of the
command line, and removes choices whose pretrained weights are unavailable.
"""

import ast
import hashlib
import inspect
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Protocol, TypeVar

from tune_bio.errors import InputError, SpaceError
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import HYPERPARAMETERS, Params, Value, is_inactive
from tune_bio.space.validation import check_names

V = TypeVar("V", str, int, float, bool)
ModelWeights = tuple[str, str]  # a model and its weights


class Trial(Protocol):
    """The argument of `search_space(trial)`; the methods are Optuna's."""

    def suggest_categorical(self, name: str, choices: Sequence[V]) -> V:
        """Suggest one of `choices`."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Suggest a number from `low` to `high`, both included."""

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Suggest an integer from `low` to `high`, both included."""


@dataclass(frozen=True)
class Choices:
    """The choices of a categorical hyperparameter on one branch of the space."""

    values: tuple[Value, ...]

    def __str__(self) -> str:
        return " | ".join(str(value) for value in self.values)


@dataclass(frozen=True)
class Range:
    """The range of a numeric hyperparameter on one branch of the space."""

    low: float
    high: float
    step: float | None
    log: bool
    integer: bool

    def __str__(self) -> str:
        return f"{self.low:g} ... {self.high:g}{' (log)' if self.log else ''}"


Distribution = Choices | Range


class ValueSource(Protocol):
    """A source of values: a sampler, or the walk over all branches."""

    def draw(self, name: str, distribution: Distribution) -> Value:
        """Return a value of `distribution`."""


class UnavailableBranch(Exception):
    """The drawn branch needs weights that are unavailable; draw again."""


@dataclass(frozen=True)
class SearchSpace:
    """A loaded search-space file.

    pins: values that hold for every trial, in place of what the space draws.
    missing: pairs of model and weights that are unavailable and never drawn.
    unavailable_models: models without any available weights, which are never drawn.
    """

    path: Path
    source: str
    function: Callable[[Trial], None]
    settings: SearchSettings
    pins: Params = field(default_factory=dict)
    missing: frozenset[ModelWeights] = frozenset()
    unavailable_models: frozenset[str] = frozenset()

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file's text."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    @property
    def question(self) -> str | None:
        """The study's question: first paragraph of the file's or the function's docstring."""
        try:
            docstring = ast.get_docstring(ast.parse(self.source))
        except SyntaxError:  # the source of an indented function, or of one typed at a prompt
            docstring = None
        paragraph = (docstring or inspect.getdoc(self.function) or "").partition("\n\n")[0]
        return " ".join(paragraph.split()) or None

    def run(self, source: ValueSource) -> Params:
        """Draw the hyperparameters of one configuration.

        Raises:
            UnavailableBranch: the drawn branch needs weights that are unavailable.
            SpaceError: the file's code failed.
            ConfigError: the file names an unknown hyperparameter.
        """
        trial = _ConstrainedTrial(self, source)
        try:
            self.function(trial)
        except (InputError, UnavailableBranch):
            raise
        except Exception as error:
            raise _failure_in(self.path, error) from error
        return trial.finish()


class _ConstrainedTrial:
    """The `Trial` that a search-space function receives."""

    def __init__(self, space: SearchSpace, source: ValueSource) -> None:
        self._space = space
        self._source = source
        self._params: Params = {}

    def suggest_categorical(self, name: str, choices: Sequence[V]) -> V:
        if isinstance(choices, str) or not choices:
            raise SpaceError(f"{name!r} has no list of choices", f"write [{choices!r}, ...]")
        invalid = [choice for choice in choices if not isinstance(choice, str | int | float | bool)]
        if invalid:
            raise SpaceError(
                f"{name!r} has the choice {invalid[0]!r}",
                "choices must be strings, numbers, True or False; write layers as '512-256'",
            )
        value: V = self._suggest(name, Choices(tuple(choices)))  # type: ignore[assignment]
        return value

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._suggest(name, _range(name, low, high, step, log, integer=False)))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        return int(self._suggest(name, _range(name, low, high, step, log, integer=True)))

    def finish(self) -> Params:
        """Return all drawn values, and the pins that are active on this branch."""
        params = {**self._params, **self._space.pins}
        if not self._is_available(params):
            raise UnavailableBranch(
                f"{params.get('model')} has no weights={params.get('weights')} here"
            )
        pinned = {name for name in self._space.pins if name not in self._params}
        return {
            name: value
            for name, value in params.items()
            if not (name in pinned and is_inactive(name, params))
        }

    def _suggest(self, name: str, distribution: Distribution) -> Value:
        check_names([name], known=HYPERPARAMETERS, kind="hyperparameter")
        if name in self._params:
            return self._params[name]  # suggested twice on one branch: the same value, as in Optuna
        if name in self._space.pins:
            self._params[name] = self._space.pins[name]
            return self._space.pins[name]
        if isinstance(distribution, Choices):
            distribution = self._available_choices(name, distribution)
        value = self._source.draw(name, distribution)
        self._params[name] = value
        return value

    def _available_choices(self, name: str, choices: Choices) -> Choices:
        known = {**self._space.pins, **self._params}
        values = [v for v in choices.values if self._is_available({**known, name: v})]
        if not values:
            raise UnavailableBranch(f"{name}: no choice of {choices} is available with {known}")
        return Choices(tuple(values))

    def _is_available(self, params: Params) -> bool:
        model, weights = str(params.get("model")), str(params.get("weights"))
        return (
            model not in self._space.unavailable_models
            and (model, weights) not in self._space.missing
        )


def load_search_space(path: Path) -> SearchSpace:
    """Run a search-space file and return what it defines.

    The file is code and runs with the user's rights, in this process only.

    Raises:
        SpaceError: the file does not exist, has a syntax error (shown with its line), fails while
            it runs, or defines no `search_space`, or its `SETTINGS` are not `SearchSettings`.
    """
    if not path.is_file():
        raise SpaceError(f"there is no search-space file {str(path)!r}", f"{_files_nearby(path)}")
    try:
        source = path.read_text(encoding="utf-8-sig")
        code = compile(source, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise _failure_in(path, error) from error
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    try:
        exec(code, module.__dict__)
    except InputError as error:
        raise type(error)(f"{path.name}: {error.fault}", error.remedy) from error
    except Exception as error:
        raise _failure_in(path, error) from error
    function = getattr(module, "search_space", None)
    if not callable(function):
        raise SpaceError(
            f"{path.name} defines no search_space", "add `def search_space(trial: Trial) -> None:`"
        )
    settings = getattr(module, "SETTINGS", SearchSettings())
    if not isinstance(settings, SearchSettings):
        raise SpaceError(
            f"SETTINGS in {path.name} is {type(settings).__name__}",
            "write SETTINGS = SearchSettings(...)",
        )
    return SearchSpace(path=path, source=source, function=function, settings=settings)


def search_space_of(function: Callable[[Trial], None]) -> SearchSpace:
    """Return a search space with the default settings from a function, such as in a notebook.

    Raises:
        SpaceError: `function` is not callable.
    """
    if not callable(function):
        raise SpaceError(
            f"the search space is {type(function).__name__}",
            "pass a function search_space(trial), or the path of a file that defines it",
        )
    name = getattr(function, "__name__", "search_space")
    try:
        source, file = inspect.getsource(function), inspect.getsourcefile(function)
    except (OSError, TypeError):  # typed at a prompt, or generated by a program
        source, file = repr(function), None
    return SearchSpace(
        path=Path(file or name).with_stem(name),
        source=source,
        function=function,
        settings=SearchSettings(),
    )


def _range(
    name: str, low: float, high: float, step: float | None, log: bool, *, integer: bool
) -> Range:
    if not low <= high or (log and low <= 0) or (step is not None and step <= 0):
        raise SpaceError(
            f"{name!r} has the range low={low}, high={high}, step={step}, log={log}",
            "low <= high is required, low > 0 if log=True, and step > 0 if a step is given",
        )
    return Range(low, high, step, log, integer)


def _failure_in(path: Path, error: Exception) -> SpaceError:
    if isinstance(error, SyntaxError):
        line, text = error.lineno, (error.text or "").strip()
        return SpaceError(
            f"{path.name}, line {line}: {error.msg}: {text!r}", "correct the file at that line"
        )
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    place = f"{path.name}, line {frames[-1].lineno}" if frames else path.name
    text = f": {frames[-1].line!r}" if frames and frames[-1].line else ""
    message = f"{type(error).__name__}: {error}"
    return SpaceError(f"{place}: {message}{text}", "correct the file at that line")


def _files_nearby(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else Path("search_spaces")
    files: Collection[str] = sorted(str(file) for file in folder.glob("*.py"))
    return "there are " + ", ".join(files) if files else "give the path of a .py file"
