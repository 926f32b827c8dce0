"""Search-space files: valid content, and one-line errors for mistakes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.data_factory import is_one_line
from tune_bio.errors import ConfigError, InputError, SpaceError
from tune_bio.space.search_space import (
    Choices,
    Distribution,
    Range,
    SearchSpace,
    UnavailableBranch,
    load_search_space,
    search_space_of,
)
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import Value

Function = Callable[[Any], None]


class FirstValue:
    """A value source that draws the first choice or the low end of a range."""

    def draw(self, name: str, distribution: Distribution) -> Value:
        return distribution.values[0] if isinstance(distribution, Choices) else distribution.low


def space(function: Function, **options: Any) -> SearchSpace:
    return SearchSpace(Path("space.py"), "", function, SearchSettings(), **options)


def transfer(trial: Any) -> None:
    trial.suggest_categorical("model", ["resnet18", "cnn"])
    if trial.suggest_categorical("weights", ["imagenet", "none"]) != "none":
        trial.suggest_categorical("freeze", ["backbone", "none"])
    trial.suggest_float("lr", 1e-5, 1e-2, log=True)


def _load(folder: Path, text: str) -> SearchSpace:
    path = folder / "space.py"
    path.write_text(text)
    return load_search_space(path)


def test_a_file_provides_a_function_settings_and_a_fingerprint(tmp_path: Path) -> None:
    text = (
        "from tune_bio import SearchSettings\n"
        "SETTINGS = SearchSettings(num_trials=3)\n"
        "def search_space(trial):\n"
        "    trial.suggest_categorical('model', ['cnn', 'ann'])\n"
        "    trial.suggest_int('batch_size', 4, 8)\n"
    )
    loaded = _load(tmp_path, text)
    assert loaded.run(FirstValue()) == {"model": "cnn", "batch_size": 4}
    assert loaded.settings.num_trials == 3
    assert loaded.sha256 != _load(tmp_path, text + "\n").sha256


def test_settings_may_be_left_out(tmp_path: Path) -> None:
    loaded = _load(tmp_path, "def search_space(trial): pass")
    assert loaded.settings == SearchSettings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "defines no search_space"),
        ("search_space = 3\n", "defines no search_space"),
        ("x = 1\ndef search_space(trial:\n    pass\n", "line 2: .*search_space"),
        ("x = 1\n  y = 2\n", "line 2: .*indent"),
        ("import math\n\nmath.sqrt(-1)\n", "line 3: ValueError.*sqrt"),
        ("SETTINGS = {'data': 'phantom'}\ndef search_space(trial): pass\n", "SETTINGS.* is dict"),
        ("SETTINGS = {}\ndef search_space(trial): pass\n", "SETTINGS.* is dict"),
        ("SETTINGS = 'phantom'\ndef search_space(trial): pass\n", "SETTINGS.* is str"),
        ("import no_such_module\n", "line 1: ModuleNotFoundError"),
        ("x = '\0'\n", "null bytes"),
    ],
)
def test_an_unusable_file_is_reported_with_the_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(SpaceError, match=message) as caught:
        _load(tmp_path, text)
    assert is_one_line(caught.value)
    assert "space.py" in str(caught.value)


def test_an_error_in_the_settings_of_a_file_names_the_file(tmp_path: Path) -> None:
    text = "from tune_bio import SearchSettings\nSETTINGS = SearchSettings.of({'num_trial': 3})\n"
    with pytest.raises(ConfigError, match=r"space\.py.*num_trial.*did you mean"):
        _load(tmp_path, text)


def test_a_missing_file_is_reported_with_the_existing_files(tmp_path: Path) -> None:
    (tmp_path / "transfer.py").touch()
    with pytest.raises(SpaceError, match=r"no search-space file.*transfer\.py") as caught:
        load_search_space(tmp_path / "transfr.py")
    assert is_one_line(caught.value)


def test_an_error_inside_the_function_shows_its_line(tmp_path: Path) -> None:
    loaded = _load(tmp_path, "def search_space(trial):\n    a = 1\n    a / 0\n")
    with pytest.raises(SpaceError, match=r"space\.py, line 3: ZeroDivisionError.*a / 0") as caught:
        loaded.run(FirstValue())
    assert is_one_line(caught.value)


@pytest.mark.parametrize(
    ("suggest", "message"),
    [
        (lambda t: t.suggest_float("learning_rate", 0.1, 0.2), "unknown hyperparameter"),
        (lambda t: t.suggest_float("lrr", 0.1, 0.2), "did you mean 'lr'"),
        (lambda t: t.suggest_int("epochs", 9, 3), "low=9, high=3.*low <= high"),
        (lambda t: t.suggest_float("lr", 0.0, 0.1, log=True), "low > 0"),
        (lambda t: t.suggest_float("lr", 0.1, 0.2, step=0.0), "step > 0"),
        (lambda t: t.suggest_categorical("model", []), "no list of choices"),
        (lambda t: t.suggest_categorical("model", "cnn"), r"write \['cnn', ...\]"),
        (lambda t: t.suggest_loguniform("lr", 0.1, 1), "AttributeError"),
    ],
)
def test_an_invalid_suggestion_is_refused_in_one_line(suggest: Function, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        space(suggest).run(FirstValue())
    assert is_one_line(caught.value)


def test_a_source_draws_from_the_distributions_of_the_file() -> None:
    distributions: dict[str, Distribution] = {}

    class Recorder(FirstValue):
        def draw(self, name: str, distribution: Distribution) -> Value:
            distributions[name] = distribution
            return super().draw(name, distribution)

    space(transfer).run(Recorder())
    assert distributions == {
        "model": Choices(("resnet18", "cnn")),
        "weights": Choices(("imagenet", "none")),
        "freeze": Choices(("backbone", "none")),
        "lr": Range(1e-5, 1e-2, None, log=True, integer=False),
    }


def test_pins_override_the_space_and_decide_its_branches() -> None:
    params = space(transfer, pins={"weights": "none", "batch_size": 4}).run(FirstValue())
    assert params == {"model": "resnet18", "weights": "none", "lr": 1e-5, "batch_size": 4}


def test_a_pin_is_left_out_on_a_branch_where_it_has_no_effect() -> None:
    def models(trial: Any) -> None:
        trial.suggest_categorical("model", ["cnn", "ann"])

    assert "depth" not in space(models, pins={"depth": 2}).run(FirstValue())
    pinned = space(models, pins={"depth": 2, "model": "ann"}).run(FirstValue())
    assert pinned == {"model": "ann", "depth": 2}


def test_unavailable_weights_are_never_drawn() -> None:
    missing = frozenset({("resnet18", "imagenet")})
    assert space(transfer, missing=missing).run(FirstValue())["weights"] == "none"
    reduced = space(transfer, missing=missing, unavailable_models=frozenset({"resnet18"}))
    assert reduced.run(FirstValue())["model"] == "cnn"


def test_pinned_weights_that_are_unavailable_make_the_branch_unavailable() -> None:
    def rates(trial: Any) -> None:
        trial.suggest_float("lr", 1e-5, 1e-2)

    pins: dict[str, Value] = {"model": "resnet18", "weights": "imagenet"}
    missing = frozenset({("resnet18", "imagenet")})
    for function in (transfer, rates):
        with pytest.raises(UnavailableBranch, match="resnet18"):
            space(function, missing=missing, pins=pins).run(FirstValue())


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ('"""Which model,\nand why?\n\nDetails."""\n', "Which model, and why?"),
        ("", "Of the function."),
    ],
)
def test_the_question_is_the_first_paragraph_of_a_docstring(
    tmp_path: Path, text: str, question: str
) -> None:
    function = (
        'def search_space(trial):\n    "Of the function."\n    trial.suggest_int("depth", 1, 2)'
    )
    assert _load(tmp_path, text + function).question == question


def test_a_space_without_a_docstring_has_no_question() -> None:
    assert space(transfer).question is None
    assert search_space_of(transfer).question is None
