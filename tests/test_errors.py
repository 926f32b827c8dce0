"""The exceptions: their tree, their messages, and the page that lists them."""

import importlib.util
import inspect
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

import tune_bio
from tune_bio import errors

ROOT = Path(tune_bio.__file__).parents[1]
KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


def _generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate_errors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    return module


def test_the_page_of_errors_is_up_to_date() -> None:
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    assert page == _generator().page(), "run python docs/generate_errors.py"


def test_every_error_of_the_package_has_a_fault_and_a_remedy() -> None:
    refusals = list(_generator().refusals())
    assert len(refusals) > 100
    for refusal in refusals:
        assert refusal.fault.strip(" …")
        assert refusal.remedy.strip(" …")
        assert not refusal.fault.endswith("."), refusal


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_is_in_the_tree_and_can_be_pickled(kind: type) -> None:
    assert issubclass(kind, errors.TuneBioError)
    assert kind.__name__ in (errors.__doc__ or "")
    error = kind("a fault\nin two lines", "a remedy")
    assert str(error) == "a fault in two lines: a remedy"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
