"""Search spaces: plain Python files in Optuna's define-by-run style.

A space is run against a source of values (a sampler, or the walker that lists every branch).
`Draw` stands between the two: it knows the hyperparameters' names, what the command line has
pinned, and which pretrained weights cannot be had, so that no such choice is ever drawn.
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
    """What `search_space(trial)` receives; the methods are Optuna's."""

    def suggest_categorical(self, name: str, choices: Sequence[V]) -> V:
        """One of `choices`."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from `low` to `high`, both included."""

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """A whole number from `low` to `high`, both included."""


@dataclass(frozen=True)
class Choices:
    """A categorical hyperparameter as the space states it on one branch."""

    values: tuple[Value, ...]

    def __str__(self) -> str:
        return " | ".join(str(value) for value in self.values)


@dataclass(frozen=True)
class Range:
    """A numeric hyperparameter as the space states it on one branch."""

    low: float
    high: float
    step: float | None
    log: bool
    integer: bool

    def __str__(self) -> str:
        return f"{self.low:g} ... {self.high:g}{' (log)' if self.log else ''}"


Distribution = Choices | Range


class ValueSource(Protocol):
    """Where values come from: a sampler, or the walk over all branches."""

    def draw(self, name: str, distribution: Distribution) -> Value:
        """A value of `distribution`."""


class UnavailableBranch(Exception):
    """This branch needs something that cannot be had; another draw is wanted."""


@dataclass(frozen=True)
class SearchSpace:
    """A loaded search-space file.

    `pins` hold for every trial, over whatever the space draws. `missing` are the pairs of model
    and weights that cannot be had; `dead_models` the models that no available weights are left
    for. None of them is ever drawn.
    """

    path: Path
    source: str
    function: Callable[[Trial], None]
    settings: SearchSettings
    pins: Params = field(default_factory=dict)
    missing: frozenset[ModelWeights] = frozenset()
    dead_models: frozenset[str] = frozenset()

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file's text."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    @property
    def question(self) -> str | None:
        """What the study asks: the first paragraph of the file's docstring, or the function's."""
        try:
            told = ast.get_docstring(ast.parse(self.source))
        except SyntaxError:  # of a function, indented, or typed at a prompt
            told = None
        paragraph = (told or inspect.getdoc(self.function) or "").partition("\n\n")[0]
        return " ".join(paragraph.split()) or None

    def run(self, source: ValueSource) -> Params:
        """Draw one configuration's hyperparameters.

        Raises:
            DeadEnd: the draw ended where nothing is available.
            SpaceError: the file's own code failed, or names an unknown hyperparameter.
        """
        draw = _ConstrainedTrial(self, source)
        try:
            self.function(draw)
        except (InputError, UnavailableBranch):
            raise
        except Exception as error:
            raise _failure_in(self.path, error) from error
        return draw.finish()


class _ConstrainedTrial:
    """The `Trial` that a search-space function sees."""

    def __init__(self, space: SearchSpace, source: ValueSource) -> None:
        self._space = space
        self._source = source
        self._params: Params = {}

    def suggest_categorical(self, name: str, choices: Sequence[V]) -> V:
        if isinstance(choices, str) or not choices:
            raise SpaceError(f"{name!r} has no list of choices", f"write [{choices!r}, ...]")
        strange = [choice for choice in choices if not isinstance(choice, str | int | float | bool)]
        if strange:
            raise SpaceError(
                f"{name!r} has the choice {strange[0]!r}",
                "choices are text, numbers, True or False; write layers as '512-256'",
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
        """All values, pins that mean something here included."""
        params = {**self._params, **self._space.pins}
        if not self._runs(params):
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
            return self._params[name]  # asked again on one branch: the same answer, as in Optuna
        if name in self._space.pins:
            self._params[name] = self._space.pins[name]
            return self._space.pins[name]
        if isinstance(distribution, Choices):
            distribution = self._available(name, distribution)
        value = self._source.draw(name, distribution)
        self._params[name] = value
        return value

    def _available(self, name: str, choices: Choices) -> Choices:
        known = {**self._space.pins, **self._params}
        values = [v for v in choices.values if self._runs({**known, name: v})]
        if not values:
            raise UnavailableBranch(f"{name}: no choice of {choices} can be had beside {known}")
        return Choices(tuple(values))

    def _runs(self, params: Params) -> bool:
        model, weights = str(params.get("model")), str(params.get("weights"))
        return model not in self._space.dead_models and (model, weights) not in self._space.missing


def load_search_space(path: Path) -> SearchSpace:
    """Run a search-space file and return what it defines.

    The file is code and runs with the user's rights, in this process only.

    Raises:
        SpaceError: no such file, a syntax error (shown at its line), an error while it runs,
            no `search_space`, or a `SETTINGS` that is no `SearchSettings`.
    """
    if not path.is_file():
        raise SpaceError(f"no search-space file {str(path)!r}", f"{_nearby(path)}")
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
    """A search space, under the default settings, from the function itself, as in a notebook.

    Raises:
        SpaceError: no function of one argument.
    """
    if not callable(function):
        raise SpaceError(
            f"the search space is {type(function).__name__}",
            "give a function search_space(trial), or the path of a file that defines it",
        )
    name = getattr(function, "__name__", "search_space")
    try:
        source, file = inspect.getsource(function), inspect.getsourcefile(function)
    except (OSError, TypeError):  # typed at a prompt, or built by a program
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
            "low <= high must hold, with low > 0 where log=True and step > 0 where given",
        )
    return Range(low, high, step, log, integer)


def _failure_in(path: Path, error: Exception) -> SpaceError:
    if isinstance(error, SyntaxError):
        line, text = error.lineno, (error.text or "").strip()
        return SpaceError(
            f"{path.name}, line {line}: {error.msg}: {text!r}", "correct the file at that line"
        )
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    where = f"{path.name}, line {frames[-1].lineno}" if frames else path.name
    text = f": {frames[-1].line!r}" if frames and frames[-1].line else ""
    what = f"{type(error).__name__}: {error}"
    return SpaceError(f"{where}: {what}{text}", "correct the file at that line")


def _nearby(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else Path("search_spaces")
    found: Collection[str] = sorted(str(file) for file in folder.glob("*.py"))
    return "there are " + ", ".join(found) if found else "give the path of a .py file"
