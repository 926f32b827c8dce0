"""The search spaces that come with tune_bio: requirements that each of them meets."""

import ast
from pathlib import Path

import pytest
import ray
import torch
import torchvision

from tune_bio.models.weights import published
from tune_bio.search import main
from tune_bio.space.branches import grid, walk_branches
from tune_bio.space.search_space import load_search_space
from tune_bio.space.trial_config import Params
from tune_bio.study.planning.plan import complete_config

pytestmark = pytest.mark.usefixtures("without_ray")

FOLDER = Path(__file__).parents[1] / "search_spaces"
SPACES = sorted(FOLDER.glob("*.py"))
# Number of configurations in each grid.
GRIDS = {
    "ann_epochs": 3 * 6 + 2 * 6,
    "loss_and_batch": (1 + 3 * 3 + 1) + 3 * 3,
    "weights_and_batch": 3 * (2 * (4 + 2) + 4),
    "finetune_or_features": (1 + 2 * 2) + (1 + 2),
    "ann_cnn_gap": 5,
}
# The rows of the reports' tables, as far as the reports state what was trained.
ROWS: dict[str, list[Params]] = {
    "ann_epochs": [
        *({"lr_schedule": "cosine", "depth": 4, "epochs": n} for n in (10, 20, 30, 40, 50, 60)),
        *({"lr_schedule": "step", "depth": n, "epochs": 40} for n in (4, 5, 6)),
    ],
    "loss_and_batch": [
        {"loss": "bce", "batch_size": 32, "width": "64-64-64-64"},
        {"loss": "cross_entropy", "batch_size": 32},
        *({"loss": "bce", "batch_size": n} for n in (2, 16, 128)),
        {"loss": "bce", "width": "64-64-64-64-256-128", "dropout": 0.5},
    ],
    "weights_and_batch": [
        {"weights": f"IMAGENET1K_V{v}", "batch_size": b, "epochs": n, "freeze": freeze}
        for v, b, n, freeze in (
            (1, 32, 50, "none"), (1, 64, 35, "none"), (1, 128, 50, "none"), (2, 128, 40, "none"),
            (2, 32, 40, "none"), (2, 32, 60, "none"), (2, 128, 40, "backbone"),
            (2, 128, 100, "backbone"), (1, 128, 100, "backbone"), (1, 32, 100, "backbone"),
        )
    ],
    "finetune_or_features": [
        {"model": "resnet18", "freeze": "none", "lr": 1e-4, "weight_decay": 2e-3, "dropout": 0.5},
        {"model": "resnet18", "freeze": "backbone_bn", "resize": 256, "crop": 224},
        {"model": "squeezenet1_0", "freeze": "none", "augment": "jitter"},
        {"model": "squeezenet1_0", "freeze": "backbone", "augment": "jitter"},
    ],
    "ann_cnn_gap": [
        {"model": "cnn", "width": "32-32-32", "head_width": 32, "dropout": 0.0},
        {"model": "cnn", "width": "32-32-32", "head_width": 32, "dropout": 0.6},
        {"model": "ann", "width": "512-256-256", "dropout": "0.9-0.9-0.8"},
        {"model": "cnn_gap", "width": "32-32-32", "head_width": 0},
        {"model": "cnn_gap", "width": "32-32-128", "head_width": 128, "loss": "bce"},
    ],
}  # fmt: skip
# A dry run times one batch of each kind of trial; at these sizes, it is fast.
SMALL = {
    "transfer": ("image_size=32", "batch_size=16"),
    "ann_cnn_gap": ("image_size=32",),
    "weights_and_batch": ("image_size=32", "batch_size=32"),
    "finetune_or_features": ("resize=40", "crop=32", "batch_size=2"),
    "loss_and_batch": ("lr=0.001",),
}


def space_name(path: Path) -> str:
    return path.stem


@pytest.fixture(scope="module")
def weights_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random weights, as if from ImageNet, for the smallest model."""
    folder = tmp_path_factory.mktemp("weights")
    network = torchvision.models.squeezenet1_0()
    torch.save(network.state_dict(), folder / "squeezenet1_0.pth")
    return folder


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "fetch", lambda source: (None, "no network in tests"))


@pytest.mark.parametrize("path", SPACES, ids=space_name)
def test_a_space_begins_with_its_question_and_its_command(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    question, empty, command = text.splitlines()[:3]
    assert "?" in question
    assert not empty
    assert command == f"The command: python -m tune_bio.search search_spaces/{path.name}"


@pytest.mark.parametrize("path", SPACES, ids=space_name)
def test_every_branch_is_a_configuration(path: Path) -> None:
    space = load_search_space(path)
    branches = walk_branches(space)
    assert branches.complete
    for params in (*branches.leaves, *branches.highs):
        assert complete_config(params, space.settings, size=64).epochs <= space.settings.max_epochs


@pytest.mark.parametrize("path", [FOLDER / f"{name}.py" for name in GRIDS], ids=space_name)
def test_a_report_is_a_fully_replicated_grid_with_the_rows_of_its_table(path: Path) -> None:
    space = load_search_space(path)
    settings = space.settings
    assert (settings.searcher, settings.scheduler) == ("grid", "none")
    assert (settings.finalists, settings.replicates) == ("all", 3)
    cells = grid(space)
    assert len(cells) == GRIDS[path.stem]
    for row in ROWS[path.stem]:
        matches = [cell for cell in cells if row.items() <= {"freeze": "none", **cell}.items()]
        assert matches, f"{row} is not in the grid"


def test_every_space_except_transfer_is_the_grid_of_a_report() -> None:
    assert {path.stem for path in SPACES} - GRIDS.keys() == {"transfer"}


@pytest.mark.parametrize(
    "path",
    [
        # weights_and_batch builds a large network twice
        pytest.param(path, marks=[pytest.mark.slow] if path.stem == "weights_and_batch" else [])
        for path in SPACES
    ],
    ids=[space_name(path) for path in SPACES],
)
def test_a_dry_run_shows_the_planned_study(
    path: Path, weights_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pins = [part for pin in SMALL.get(path.stem, ()) for part in ("--set", pin)]
    flags = ["--dry-run", "--results", str(tmp_path), "--weights-dir", str(weights_dir), *pins]
    assert main([str(path), *flags]) == 0
    printed = capsys.readouterr().out
    assert "estimated time" in printed
    assert "synthetic" in printed
    assert not ray.is_initialized()
