"""The records: they have the columns of the contract and are readable at any time."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tune_bio.errors import ResultsError
from tune_bio.records.manifest_file import MANIFEST, read_manifest, write_manifest
from tune_bio.records.schema import EPOCHS, EVALUATIONS, PREDICTIONS, TRIALS
from tune_bio.records.tables import Records, read_epochs, read_predictions, read_trials
from tune_bio.space.trial_config import TrialConfig, hyperparameter_names

TRIAL_COLUMNS = [
    "trial_id",
    "config_id",
    "status",
    "error",
    "replicate",
    "seed",
    "epochs_run",
    "epochs_trained",
    "reused_from",
    "best_epoch",
    "best_val_auroc",
    "best_val_accuracy",
    "best_val_loss",
    "best_val_loss_epoch",
    "best_train_accuracy",
    "final_train_loss",
    "final_train_accuracy",
    "final_val_loss",
    "final_val_accuracy",
    "generalization_gap",
    "epochs_to_plateau",
    "val_loss_jitter",
    "test_loss",
    "test_accuracy",
    "test_accuracy_low",
    "test_accuracy_high",
    "test_auroc",
    "test_auroc_low",
    "test_auroc_high",
    "seconds",
    "seconds_per_epoch",
    "parameters",
    "trainable_parameters",
    "multiply_adds",
    "node",
    "gpu",
]
EPOCH_COLUMNS = [
    "trial_id",
    "epoch",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "val_balanced_accuracy",
    "val_macro_f1",
    "val_auroc",
    "lr",
    "seconds",
    "images_per_second",
]
WHOLE = {"epoch", "seed", "replicate", "parameters", "multiply_adds", "epochs_run", "best_epoch"}


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(
        folder=tmp_path,
        classes=("healthy", "ill"),
        images=np.array(["a_0", "a_1", "b_0"]),
        patients=np.array(["a", "a", "b"]),
        labels=np.array([0, 0, 1]),
    )


def start(records: Records, trial_id: str, **params: Any) -> None:
    records.start_trial(trial_id, f"id-{trial_id}", TrialConfig.of({"model": "ann", **params}))


def epoch(number: int, **values: Any) -> dict[str, Any]:
    return {name: 0.5 for name in EPOCH_COLUMNS[2:]} | {"epoch": number} | values


@pytest.mark.parametrize("trials", [0, 2])
def test_the_tables_have_exactly_the_columns_of_the_contract(records: Records, trials: int) -> None:
    for number in range(trials):
        start(records, f"t{number}")
        records.add_epochs(f"t{number}", [epoch(1)])
        records.predictions[f"t{number}"] = np.full((3, 2), 0.5, np.float32)
    records.write()
    trial_table, epoch_table = read_trials(records.folder), read_epochs(records.folder)
    params = [f"params.{name}" for name in hyperparameter_names()]
    assert [name for name in trial_table.columns if name not in params] == TRIAL_COLUMNS
    assert [name for name in trial_table.columns if name in params] == params
    assert list(epoch_table.columns) == EPOCH_COLUMNS
    for path in (TRIALS, EPOCHS):
        schema = pq.read_schema(records.folder / path)
        for name in WHOLE & set(schema.names):
            assert str(schema.field(name).type) == "int64"
    predictions = read_predictions(records.folder)
    assert list(predictions.columns) == [
        "trial", "split", "image", "patient", "label", "p_healthy", "p_ill",
    ]  # fmt: skip
    assert (len(trial_table), len(epoch_table), len(predictions)) == (trials, trials, 3 * trials)


def test_a_trial_is_written_with_its_active_hyperparameters_and_null_for_the_others(
    records: Records,
) -> None:
    start(records, "a", lr=0.01, seed=7)
    start(records, "b", optimizer="sgd")
    records.update_trial("b", status="failed", error="out of memory", parameters=12)
    records.write()
    a, b = read_trials(records.folder).to_dict("records")
    assert (a["status"], a["seed"], a["params.lr"], a["params.depth"]) == ("running", 7, 0.01, 3)
    assert (b["status"], b["error"], b["parameters"]) == ("failed", "out of memory", 12)
    assert pd.isna(a["params.momentum"])
    assert b["params.momentum"] == 0.9
    assert pd.isna(a["params.gamma"])
    assert pd.isna(a["test_auroc"])


@pytest.mark.parametrize("name", ["width", "dropout"])
def test_numbers_and_lists_share_a_column_as_text(records: Records, name: str) -> None:
    numbers, listed = {"width": (64, "32-16"), "dropout": (0.5, "0.2-0.1")}[name]
    start(records, "a", **{name: numbers})
    records.write()
    assert read_trials(records.folder)[f"params.{name}"].tolist() == [numbers]
    start(records, "b", **{name: listed})
    records.start_trial("c", "id", TrialConfig.of({"model": "resnet18"}))
    records.write()
    column = read_trials(records.folder)[f"params.{name}"]
    assert column[:2].tolist() == [str(numbers), listed]
    assert pd.isna(column[2]) == (name == "width")


def test_adding_an_epoch_again_replaces_it(records: Records) -> None:
    start(records, "a")
    records.add_epochs("a", [epoch(1), epoch(2), epoch(3)])
    records.add_epochs("a", [epoch(2, val_auroc=0.9), epoch(3), epoch(4)])
    assert [row["epoch"] for row in records.curve("a")] == [1, 2, 3, 4]
    records.write()
    table = read_epochs(records.folder)
    assert table["epoch"].tolist() == [1, 2, 3, 4]
    assert table["val_auroc"].tolist() == [0.5, 0.9, 0.5, 0.5]
    assert set(table["trial_id"]) == {"a"}


def test_a_diverged_epoch_has_no_validation_values(records: Records) -> None:
    start(records, "a")
    records.add_epochs("a", [{"epoch": 1, "train_loss": float("nan"), "seconds": 1.0}])
    records.write()
    row = read_epochs(records.folder).iloc[0]
    assert row["epoch"] == 1
    assert row[["val_loss", "val_auroc", "train_loss"]].isna().all()


def test_predictions_are_in_the_rows_of_their_images(records: Records) -> None:
    records.predictions = {
        "x": np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], np.float32),
        "y": np.array([[0.5, 0.5], [0.4, 0.6], [0.1, 0.9]], np.float32),
    }
    records.write()
    table = read_predictions(records.folder)
    assert table["trial"].tolist() == ["x"] * 3 + ["y"] * 3
    assert table["image"].tolist() == ["a_0", "a_1", "b_0"] * 2
    assert table["patient"].tolist() == ["a", "a", "b"] * 2
    assert table["label"].tolist() == [0, 0, 1] * 2
    assert table["p_ill"].to_numpy() == pytest.approx([0.1, 0.2, 0.7, 0.5, 0.6, 0.9])
    assert set(table["split"]) == {"val"}


def test_a_failed_write_leaves_the_old_tables(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(records, "a")
    records.write()

    def write_half(table: Any, path: Path) -> None:
        path.write_bytes(b"PAR1 half")
        raise OSError("disk full")

    start(records, "b")
    monkeypatch.setattr(pq, "write_table", write_half)
    with pytest.raises(OSError, match="disk full"):
        records.write()
    assert read_trials(records.folder)["trial_id"].tolist() == ["a"]
    files = {path.name for path in records.folder.iterdir()}
    assert files == {TRIALS, EPOCHS, PREDICTIONS, EVALUATIONS}


def test_a_table_that_is_replaced_while_it_is_read_is_read_as_it_was(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a running study does: the reader has opened the file, and another one takes its place."""
    start(records, "a")
    records.write()
    read_table = pq.read_table

    def replaced_meanwhile(source: Any, **kwargs: Any) -> Any:
        for number in range(500):
            start(records, f"b{number}", lr=0.001 * (number + 1))
        records.write()
        return read_table(source, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(pq, "read_table", replaced_meanwhile)
        assert read_trials(records.folder)["trial_id"].tolist() == ["a"]
    assert len(read_trials(records.folder)) == 501


@pytest.mark.parametrize("content", [None, b"", b"PAR1 and no more", "{".encode("utf-16")])
@pytest.mark.parametrize("read", [read_trials, read_epochs, read_predictions, read_manifest])
def test_an_unreadable_file_is_reported_with_a_remedy(
    tmp_path: Path, read: Any, content: bytes | None
) -> None:
    for name in (TRIALS, EPOCHS, PREDICTIONS, MANIFEST):
        if content is not None:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(ResultsError, match=r"cannot be read.*results/NAME") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_manifest_round_trips(tmp_path: Path) -> None:
    manifest = {"data": "Röntgen", "seeds": [0, 1], "threshold": None}
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest


def test_the_manifest_is_valid_json_even_if_a_statistic_is_not_finite(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"p": math.nan, "of": [math.inf, 0.5], "in": {"x": -math.inf, "n": 1}})
    expected = {"p": None, "of": [None, 0.5], "in": {"x": None, "n": 1}}
    assert read_manifest(tmp_path) == expected
    assert "NaN" not in (tmp_path / "experiment.json").read_text()


def test_training_a_trial_further_discards_its_test_predictions(tmp_path: Path) -> None:
    empty = np.array([], dtype=str)
    records = Records(tmp_path, ("a", "b"), empty, empty, np.array([], dtype=np.int64))
    config = TrialConfig.of({"model": "ann"})
    records.start_trial("t0000r1", "c", config, 1)
    records.test_predictions["t0000r1"] = np.array([[0.1, 0.9]], np.float32)
    records.start_trial("t0000r1", "c", config.model_copy(update={"epochs": 20}), 1)
    assert "t0000r1" not in records.test_predictions
