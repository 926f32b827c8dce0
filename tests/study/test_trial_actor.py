"""The trainable, used directly in this process as Tune uses it in its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray import tune

from tune_bio.cluster import Allotment
from tune_bio.datasets import open_dataset
from tune_bio.datasets.geometry import Geometry
from tune_bio.datasets.transforms import prepare
from tune_bio.sharing import share
from tune_bio.trainable import STALL_FILE, TrialActor, TrialContext

PARAMS = {"model": "cnn", "width": 8, "epochs": 6, "image_size": 16, "dropout": 0.3}


@pytest.fixture
def actor(cluster: None, tiny_npz: Path, tmp_path: Path) -> Callable[..., Any]:
    data = {Geometry(16): prepare(open_dataset(str(tiny_npz)), Geometry(16))}
    context = TrialContext(
        shared=share(data, {}),
        allotment=Allotment(cpus=1, gpus=0, concurrent=1),
        metric="val_auroc",
        rungs=frozenset({2, 4}),
        checkpoints=tmp_path / "checkpoints",
        stall_timeout=60.0,
    )
    kind = tune.with_parameters(TrialActor, context=context)
    return lambda trial="t0000", **params: kind({"trial": trial, "params": {**PARAMS, **params}})


def _rows(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    timed = ("seconds", "images_per_second")
    rows = [row for report in reports for row in report["rows"]]
    return [{k: v for k, v in row.items() if k not in timed} for row in rows]


def _run(trainable: Any) -> list[dict[str, Any]]:
    reports = [trainable.step()]
    while not reports[-1]["done"]:
        reports.append(trainable.step())
    return reports


def test_steps_end_at_rungs_and_report_what_a_decision_needs(actor: Any) -> None:
    reports = _run(actor())
    assert {2, 4, 6} <= {report["epoch"] for report in reports}
    assert [row["epoch"] for row in _rows(reports)] == list(range(1, 7))
    for report in reports:
        assert report["val_auroc"] == report["rows"][-1]["val_auroc"]
        assert report["finished"] == (report["epoch"] == 6)
    decisive = [r for r in reports if r["epoch"] in (2, 4, 6)]
    assert "probabilities" in decisive[0]
    assert decisive[0]["probabilities"].shape == (48, 2)
    assert 0 <= decisive[0]["train_accuracy_at_best"] <= 1


def test_a_checkpoint_lies_at_each_rung_as_json_and_safetensors(actor: Any, tmp_path: Path) -> None:
    one = actor()
    while one.step()["epoch"] < 2:
        pass
    folder = tmp_path / "checkpoints" / "t0000"
    state = json.loads((folder / "state.json").read_text())
    assert state["epoch"] == 2
    assert {p.suffix for p in folder.iterdir()} == {".json", ".safetensors"}
    assert not (folder / STALL_FILE).exists()


def test_tunes_own_save_and_restore_continue_bit_identically(actor: Any, tmp_path: Path) -> None:
    expected = _rows(_run(actor()))
    first = actor("t0001")
    begun = [first.step()]
    first.save_checkpoint(str(tmp_path))
    second = actor("t0002")
    second.load_checkpoint(str(tmp_path))
    assert _rows(begun + _run(second)) == expected


def test_a_reset_leaves_nothing_of_the_trial_before(actor: Any) -> None:
    expected = _rows(_run(actor(lr=0.01)))
    used = actor(lr=0.1, optimizer="sgd", seed=5)
    used.step()
    params = {**PARAMS, "lr": 0.01}
    assert used.reset_config({"trial": "t0001", "params": params})
    assert _rows(_run(used)) == expected


def test_shared_images_are_read_in_place(actor: Any) -> None:
    pixels = actor().data.train.pixels
    assert not pixels.flags.writeable, "a copy would be writeable, and cost memory in every actor"
    assert not pixels.flags.owndata
    assert isinstance(pixels, np.ndarray)
