"""The tables of trials and configurations, from handwritten records."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.analysis.summary.test_summary import CONFIGS, STATUSES, write_records
from tune_bio.analysis.conclusions import derive_conclusions
from tune_bio.analysis.study_records import StudyRecords, read_study
from tune_bio.analysis.summary.summary import write_summary
from tune_bio.analysis.tables.table_files import latex_table, write_tables
from tune_bio.analysis.tables.trial_table import (
    by_configuration,
    format_count,
    format_seconds,
    report_table,
)
from tune_bio.records.curve_summary import summarize
from tune_bio.records.tables import read_predictions
from tune_bio.space.trial_config import TrialConfig

MISSING = {
    "params": {"model": "resnet18", "weights": "imagenet", "freeze": "none", "lr": 0.02},
    "reason": "no imagenet for resnet18: offline",
}


@pytest.fixture
def study(tmp_path: Path) -> StudyRecords:
    """Make five trials, one failed, and a replicate with test scores."""
    records = write_records(tmp_path, CONFIGS, STATUSES)
    config = TrialConfig.of({**CONFIGS[2], "seed": 1})
    records.start_trial("t0002r1", "c2", config, replicate=1)
    curve = records.curve("t0002")
    rows = [{**row, "trial_id": "t0002r1", "val_loss": 0.9 - 0.1 * row["epoch"]} for row in curve]
    rows[3]["val_loss"] = 0.65
    records.add_epochs("t0002r1", rows)
    records.update_trial(
        "t0002r1", **summarize(rows, "val_auroc", "max"), status="completed", parameters=25_549_352,
        multiply_adds=1_234, test_accuracy=0.9, test_accuracy_low=0.8, test_accuracy_high=0.95,
        test_loss=0.25,
    )  # fmt: skip
    of_loss = {"split": "test", "metric": "loss", "value": 0.25, "low": 0.125, "high": 0.5}
    records.evaluations = [{"trial": "t0002r1", **of_loss, "method": "m"}]
    records.write()
    study = read_study(tmp_path)
    return dataclasses.replace(study, manifest={**study.manifest, "not_run": [MISSING]})


def test_rows_are_formatted_for_a_report(study: StudyRecords) -> None:
    row = report_table(study).set_index("name").loc["t0002r1"]
    assert row["best validation loss"] == "3/4 (0.6000)"
    assert row["test accuracy (95 % interval)"] == "0.900 (0.800 to 0.950)"
    assert row["test loss (95 % interval)"] == "0.250 (0.125 to 0.500)"
    assert row["final train loss"] == "0.1750"
    assert row["time"] == "0:04"
    assert row["s per epoch"] == "1.00"
    assert (row["parameters"], row["multiply-adds"]) == ("25.5 M", "1.23 k")
    assert row["hyperparameters"] == "model cnn, weights none, freeze none, width 32, lr 0.003"


def test_every_trial_and_configuration_not_run_has_a_row(study: StudyRecords) -> None:
    table = report_table(study)
    assert list(table["name"]) == ["t0000", "t0001", "t0002", "t0002r1", "t0003", "t0004", "-"]
    last = table.iloc[-1]
    assert last["status"] == "not run"
    assert last["why"] == MISSING["reason"]
    assert "weights imagenet, freeze none, lr 0.02" in last["hyperparameters"]
    assert table["why"].iloc[-2] == "a reason: a remedy"


def test_the_csv_file_has_full_precision(study: StudyRecords, tmp_path: Path) -> None:
    write_tables(study, tmp_path / "tables")
    table = pd.read_csv(tmp_path / "tables" / "trials.csv").set_index("name")
    assert table["parameters"]["t0002r1"] == 25_549_352
    assert table["test loss, high"]["t0002r1"] == 0.5
    assert table["best validation loss at epoch"]["t0002r1"] == 3
    scores = study.trials.set_index("trial_id")["best_val_loss"]
    np.testing.assert_array_equal(table["best validation loss"][scores.index], scores)


def test_latex_is_escaped_and_has_booktabs_rules(study: StudyRecords) -> None:
    table = pd.DataFrame({"name": ["a_b & c"], "status": ["50 %"], "time": ["0:04"]})
    short = latex_table(table, "x")
    assert "a\\_b \\& c & 50 \\% & 0:04 \\\\" in short
    assert short.count("rule\n") == 3
    assert "longtable" not in short
    assert "\\begin{tabular}{llr}" in short
    assert short.splitlines()[0].startswith("% x")
    long = latex_table(pd.concat([table] * 50), "several\nlines")
    assert "\\begin{longtable}" in long
    assert long.splitlines()[0].startswith("% several lines")


def test_a_configuration_has_the_means_over_its_seeds(study: StudyRecords) -> None:
    table = by_configuration(study).set_index("configuration")
    assert list(table.index) == ["t0003", "t0002", "t0001", "t0000", "t0004", "not run"]
    assert table["seeds"]["t0004"].startswith("0 (")  # its only trial failed
    assert table["seeds"]["t0002"] == "2"
    both = np.array([0.7, 0.6])
    spread = f"{both.mean():.4f} ± {both.std(ddof=1):.4f}"
    assert table["best validation loss"]["t0002"] == f"2/4 ({spread})"  # between 1 and 3
    assert table["best validation loss"]["t0003"] == "1/4 (0.7000)"


def test_a_study_that_was_stopped_before_its_first_trial_has_empty_tables(tmp_path: Path) -> None:
    write_records(tmp_path, [], [])
    study = read_study(tmp_path)
    write_tables(study, tmp_path / "tables")
    assert len(pd.read_csv(tmp_path / "tables" / "trials.csv")) == 0
    assert "best validation loss" in (tmp_path / "tables" / "trials.tex").read_text()
    write_summary(study, derive_conclusions(study, read_predictions(tmp_path)), tmp_path)
    assert "Best trials" not in (tmp_path / "summary.md").read_text()


def test_empty_columns_are_dropped(tmp_path: Path) -> None:
    write_records(tmp_path, CONFIGS[:2], STATUSES[:2])
    columns = set(report_table(read_study(tmp_path)).columns)
    assert "best validation loss" in columns
    assert not columns & {"test accuracy (95 % interval)", "why", "parameters"}


def test_a_fully_replicated_grid_is_summarized_by_configuration(
    study: StudyRecords, tmp_path: Path
) -> None:
    manifest = {
        **study.manifest,
        "settings": {**study.manifest["settings"], "finalists": "all"},
        "space": {"listed": 3},
        "test_set_opened_before": [],
        "confirmed": [{"trial": "t0002", "scores": {"t0002": 0.7, "t0002r1": 0.7}, "mean": 0.7,
                       "median": "t0002"}],
    }  # fmt: skip
    whole = dataclasses.replace(study, manifest=manifest)
    write_summary(whole, derive_conclusions(whole, read_predictions(tmp_path)), tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert "## All configurations" in text
    assert "Best trials" not in text
    assert "none was selected" in text
    assert "| not run | model resnet18" in text


@pytest.mark.parametrize(
    ("number", "text"),
    [(7, "7"), (999, "999"), (1234, "1.23 k"), (999_600, "1 M"), (4.2e9, "4.2 G")],
)
def test_counts_have_three_digits_and_a_unit(number: float, text: str) -> None:
    assert format_count(number) == text


def test_times_are_minutes_and_seconds() -> None:
    assert format_seconds(975.2) == "16:15"
    assert format_seconds(59.7) == "1:00"
    assert format_seconds(float("nan")) == "-"
    assert format_seconds(0) == "0:00"
