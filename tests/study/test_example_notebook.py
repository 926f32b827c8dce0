"""The example notebook, run over a small study as a person would run it."""

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
    """A search of two trials, both confirmed under two seeds."""
    folder = tmp_path_factory.mktemp("example")
    (folder / "space.py").write_text(SPACE.format(data=str(tiny_npz)))
    command = [str(folder / "space.py"), "--results", str(folder / "results"), "--quiet", *FLAGS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's and Tune's own
        return Finished(main(command), folder / "results" / "space")


@pytest.fixture(scope="module")
def ran(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The notebook after it was run over that study: the outputs of each cell."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    cell.source = f"study = {str(finished.folder)!r}"
    own = tmp_path_factory.mktemp("jupyter")
    config = Config()
    config.KernelManager.transport = "ipc"  # sockets in this folder, and no port
    config.KernelManager.ip = str(own / "kernel")
    client = nbclient.NotebookClient(notebook, timeout=120, startup_timeout=180, config=config)
    client.resources = {"metadata": {"path": str(finished.folder)}}
    with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Jupyter's own
        patched.setenv("IPYTHONDIR", str(own))
        patched.setenv("JUPYTER_RUNTIME_DIR", str(own))
        client.execute()
    return {cell.id: cell.get("outputs", []) for cell in notebook.cells}


def table(outputs: list[Any]) -> pd.DataFrame:
    """The table that a cell has shown, as text."""
    (shown,) = re.findall("<table.*</table>", outputs[-1]["data"]["text/html"], re.DOTALL)
    head, body = ElementTree.fromstring(shown)
    rows = [[cell.text or "" for cell in row] for row in body]
    return pd.DataFrame(rows, columns=[cell.text or "" for cell in head[0]]).set_index("")


def test_the_notebook_is_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) >= 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_nothing_is_told_on_the_side(ran: dict[str, Any]) -> None:
    kinds = {output["output_type"] for outputs in ran.values() for output in outputs}
    assert kinds == {"display_data", "execute_result"}


def test_the_table_of_trials_has_the_best_first(ran: dict[str, Any], finished: Finished) -> None:
    shown = table(ran["trials"])
    search = finished.trials[finished.trials["replicate"] == 0]
    assert sorted(shown["trial_id"]) == sorted(search.index)
    assert shown["best_val_auroc"].astype(float).is_monotonic_decreasing
    assert {"params.model", "params.lr"} & set(shown.columns)


def test_mean_and_sd_are_those_of_the_replicates(ran: dict[str, Any], finished: Finished) -> None:
    shown = table(ran["seeds"])
    for one in finished.manifest["confirmed"]:
        scores = list(one["scores"].values())
        row = shown.loc[one["trial"], ["seeds", "mean", "sd"]].astype(float)
        assert row["seeds"] == len(scores) == 2
        assert row["mean"] == pytest.approx(one["mean"], rel=1e-3)
        assert row["sd"] == pytest.approx(np.std(scores, ddof=1), rel=1e-3, abs=1e-6)
    assert len(shown) == 2


@pytest.mark.parametrize("cell", ["curves", "roc", "model"])
def test_a_figure_is_drawn(ran: dict[str, Any], cell: str) -> None:
    (output,) = [o for o in ran[cell] if "image/png" in o["data"]]
    pixels = np.asarray(Image.open(io.BytesIO(b64decode(output["data"]["image/png"]))).convert("L"))
    assert min(pixels.shape) > 150
    assert pixels.std() > 5


def test_the_figures_are_files_too(ran: dict[str, Any], finished: Finished) -> None:
    assert ran
    for name in ("my_learning_curve.svg", "my_roc.svg"):
        assert (finished.folder / "figures" / name).stat().st_size > 1000


def test_the_model_gives_the_probabilities_on_record(ran: dict[str, Any]) -> None:
    shown = table(ran["check"])[["now", "on record"]].astype(float)
    assert len(shown) == 8
    np.testing.assert_allclose(shown["now"], shown["on record"], rtol=2e-3)
    assert shown["now"].nunique() > 1
