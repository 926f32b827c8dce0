"""The layers of the package: which imports are allowed, and which modules a command loads."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import tune_bio

PACKAGE = Path(tune_bio.__file__).parent
LAYERS = (
    ("errors", "common"),
    ("space",),
    ("datasets", "records"),
    ("models", "console"),
    ("training",),
    ("reuse", "inference", "controls", "analysis"),
    ("ray_tune",),
    ("study",),
    ("api", "search", "audit", "report"),
    ("__init__",),
)
RAY = {"ray_tune"}  # no other folder imports Ray
LAYER = {name: layer for layer, names in enumerate(LAYERS) for name in names}


def _module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
INITS = {name: path for name, path in MODULES.items() if path.name == "__init__.py"}


def _top_level_name(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def _imports(module: str) -> set[str]:
    """Return the full name of every module that `module` imports anywhere in its code."""
    imported = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = names & MODULES.keys()
            imported |= submodules
            if len(submodules) < len(names):
                imported.add(str(node.module))
    return imported


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_its_own_layer_or_a_lower_one(module: str) -> None:
    own = _top_level_name(module)
    assert own in LAYER, f"add {own} to a layer"
    for imported in _imports(module):
        if imported.split(".")[0] == "tune_bio":
            lower = LAYER[_top_level_name(imported)] <= LAYER[own]
            assert lower, f"{module} imports {imported}, which is in a higher layer"
        if imported.split(".")[0] == "ray":
            assert own in RAY, f"{module} imports Ray"


def test_every_name_of_a_layer_exists() -> None:
    assert {_top_level_name(module) for module in MODULES} == LAYER.keys()


def test_no_two_modules_import_each_other() -> None:
    graph = {module: _imports(module) & MODULES.keys() for module in MODULES}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize("module", sorted(INITS.keys() - {"tune_bio"}))
def test_an_init_module_has_a_docstring_and_imports_and_no_logic(module: str) -> None:
    tree = ast.parse(INITS[module].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    allowed = (ast.Import, ast.ImportFrom, ast.Assign)
    assert all(isinstance(node, allowed) for node in tree.body[1:])


@pytest.mark.parametrize(
    "module", ["tune_bio", "tune_bio.search", "tune_bio.audit", "tune_bio.report"]
)
def test_importing_a_command_loads_neither_torch_nor_ray(module: str) -> None:
    script = f"import {module}, sys; print([m for m in ('torch', 'ray') if m in sys.modules])"
    completed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert completed.stdout.strip() == "[]"


def test_the_public_names_are_unchanged() -> None:
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
