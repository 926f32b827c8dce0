"""The example notebook, run on a small study as a user would run it."""

import io
import re
import warnings
from base64 import b64decode
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbclient
import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from traitlets.config import Config

from tests.study.conftest import SPACE, Finished
from tune_bio.search import main

NOTEBOOK = Path(__file__).parents[2] / "examples" / "results.ipynb"
FLAGS = ["--num-trials", "2", "--max-epochs", "2", "--finalists", "2", "--replicates", "2"]


@pytest.fixture(scope="module")
def finished(tiny_npz: Path, cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Run a search of two trials, and confirm both under two seeds."""
    folder = tmp_path_factory.mktemp("example")
    (folder / "space.py").write_text(SPACE.format(data=str(tiny_npz)))
    command = [str(folder / "space.py"), "--results", str(folder / "results"), "--quiet", *FLAGS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of Ray and Tune
        return Finished(main(command), folder / "results" / "space")


@pytest.fixture(scope="module")
def outputs(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the notebook on that study; return the outputs of each cell by its id."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    cell.source = f"study = {str(finished.folder)!r}"
    folder = tmp_path_factory.mktemp("jupyter")
    config = Config()
    config.KernelManager.transport = "ipc"  # sockets in this folder instead of ports
    config.KernelManager.ip = str(folder / "kernel")
    client = nbclient.NotebookClient(notebook, timeout=240, startup_timeout=240, config=config)
    client.resources = {"metadata": {"path": str(finished.folder)}}
    with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of Jupyter
        patched.setenv("IPYTHONDIR", str(folder))
        patched.setenv("JUPYTER_RUNTIME_DIR", str(folder))
        client.execute()
    return {cell.id: cell.get("outputs", []) for cell in notebook.cells}


def displayed_table(cell_outputs: list[Any]) -> pd.DataFrame:
    """Return the table that a cell displays, as text."""
    html = cell_outputs[-1]["data"]["text/html"]
    (table,) = re.findall("<table.*</table>", html, re.DOTALL)
    head, body = ElementTree.fromstring(table)
    rows = [[cell.text or "" for cell in row] for row in body]
    return pd.DataFrame(rows, columns=[cell.text or "" for cell in head[0]]).set_index("")


def test_the_notebook_is_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) >= 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_cells_display_results_and_print_nothing(outputs: dict[str, Any]) -> None:
    kinds = {output["output_type"] for of_cell in outputs.values() for output in of_cell}
    assert kinds == {"display_data", "execute_result"}


def test_the_table_of_trials_has_the_best_first(
    outputs: dict[str, Any], finished: Finished
) -> None:
    table = displayed_table(outputs["trials"])
    search = finished.trials[finished.trials["replicate"] == 0]
    assert sorted(table["trial_id"]) == sorted(search.index)
    assert table["best_val_auroc"].astype(float).is_monotonic_decreasing
    assert {"params.model", "params.lr"} & set(table.columns)


def test_mean_and_sd_are_over_the_replicates(outputs: dict[str, Any], finished: Finished) -> None:
    table = displayed_table(outputs["seeds"])
    for entry in finished.manifest["confirmed"]:
        scores = list(entry["scores"].values())
        row = table.loc[entry["trial"], ["seeds", "mean", "sd"]].astype(float)
        assert row["seeds"] == len(scores) == 2
        assert row["mean"] == pytest.approx(entry["mean"], rel=1e-3)
        assert row["sd"] == pytest.approx(np.std(scores, ddof=1), rel=1e-3, abs=1e-6)
    assert len(table) == 2


@pytest.mark.parametrize("cell", ["curves", "roc", "model"])
def test_a_figure_is_drawn(outputs: dict[str, Any], cell: str) -> None:
    (output,) = [output for output in outputs[cell] if "image/png" in output["data"]]
    pixels = np.asarray(Image.open(io.BytesIO(b64decode(output["data"]["image/png"]))).convert("L"))
    assert min(pixels.shape) > 150
    assert pixels.std() > 5


def test_the_figures_are_saved_as_files(outputs: dict[str, Any], finished: Finished) -> None:
    assert outputs
    for name in ("my_learning_curve.svg", "my_roc.svg"):
        assert (finished.folder / "figures" / name).stat().st_size > 1000


def test_the_model_reproduces_the_recorded_probabilities(outputs: dict[str, Any]) -> None:
    table = displayed_table(outputs["check"])[["now", "on record"]].astype(float)
    assert len(table) == 8
    np.testing.assert_allclose(table["now"], table["on record"], rtol=2e-3)
    assert table["now"].nunique() > 1
