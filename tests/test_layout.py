"""The floors of the house: what may import what, and what importing costs."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import tune_bio

PACKAGE = Path(tune_bio.__file__).parent
RAY_FLOOR = 4
NO_RAY = {"analysis"}  # reads the records, which know nothing of Ray
FLOORS = (
    ("errors", "files", "environment", "validation", "naming", "config", "settings"),
    (
        "space", "survey", "seeding", "metrics", "curves", "thresholds", "predictions", "records",
        "results",
        "request", "fingerprints", "datasets", "models",
    ),
    ("optim", "schedules", "devices"),
    ("training", "training_state", "checkpoints", "bundle", "evaluation", "controls", "reuse"),
    (
        "trainable", "worker", "searchers", "schedulers", "sharing", "recorder", "progress",
        "cluster", "local_ray", "launch", "failures", "shuffling", "driver_only", "featuring",
        "jobs", "past", "actors", "drawing", "signs_of_life",
    ),
    ("analysis",),
    ("study",),
    # __init__ is the face: it hands out what lies below.
    ("options", "search", "audit", "report", "command_line", "notebook", "__init__"),
)  # fmt: skip
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def _imports(module: str) -> set[str]:
    """Every module that `module` imports anywhere in its code, by full name."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            inside = names & MODULES.keys()
            found |= inside
            if len(inside) < len(names):
                found.add(str(node.module))
    return found


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_its_own_floor_or_lower(module: str) -> None:
    assert _room(module) in FLOOR, f"decide on which floor {module} stands, and list it here"
    floor = FLOOR[_room(module)]
    for imported in _imports(module):
        package = imported.split(".")[0]
        if package == "tune_bio":
            assert FLOOR[_room(imported)] <= floor, f"{module} reaches up to {imported}"
        if package == "ray":
            assert floor >= RAY_FLOOR, f"{module} stands too low to know Ray"
            assert _room(module) not in NO_RAY, f"{module} must not know Ray"


def test_every_room_that_is_listed_exists() -> None:
    assert {_room(module) for module in MODULES} == FLOOR.keys()


def test_no_two_modules_import_each_other() -> None:
    graph = {module: _imports(module) & MODULES.keys() for module in MODULES}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize(
    "module", ["tune_bio", "tune_bio.search", "tune_bio.audit", "tune_bio.report"]
)
def test_the_face_and_the_command_line_cost_nothing_to_import(module: str) -> None:
    script = f"import {module}, sys; print([m for m in ('torch', 'ray') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_these() -> None:
    assert sorted(tune_bio.__all__) == [
        "Evaluation",
        "Results",
        "SearchResult",
        "SearchSettings",
        "TrainedModel",
        "Trial",
        "TrialConfig",
        "TuneBioError",
        "__version__",
        "evaluate",
        "load_model",
        "load_results",
        "run_search",
    ]
    for name in tune_bio.__all__:
        assert getattr(tune_bio, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        tune_bio.no_such_name  # noqa: B018
