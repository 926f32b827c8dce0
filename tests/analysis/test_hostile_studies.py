"""Studies that are unlike others: what is told of them is true, and nothing of it is lost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.analysis.figures.conftest import write_study
from tests.analysis.study_factory import made_study
from tune_bio.analysis.conclusions import Conclusions, derive_conclusions
from tune_bio.analysis.figures.comparisons import Difference, _largest, _levels
from tune_bio.analysis.figures.draw_all import save_figures
from tune_bio.analysis.figures.style import short_label
from tune_bio.analysis.page.answer import answer
from tune_bio.analysis.page.dot_plot import Group, plot
from tune_bio.analysis.study_records import StudyRecords, read_study
from tune_bio.analysis.summary.confirmation_table import confirmation_table
from tune_bio.analysis.summary.summary import summary_parts
from tune_bio.analysis.tables.trial_table import by_configuration
from tune_bio.records.manifest_file import read_manifest, write_manifest
from tune_bio.records.tables import read_predictions

Read = Callable[..., tuple[StudyRecords, Conclusions]]


def concluded(folder: Path, **manifest: Any) -> tuple[StudyRecords, Conclusions]:
    write_manifest(folder, {**read_manifest(folder), **manifest})
    study = read_study(folder)
    return study, derive_conclusions(study, read_predictions(folder))


def words(study: StudyRecords, conclusions: Conclusions) -> str:
    return "\n".join([*summary_parts(study, conclusions), *answer(study, conclusions)])


@pytest.mark.parametrize("name", ["c $\\foo$ d", "over $5 and $10", "50 % _of_ {a}"])
def test_what_stands_in_a_classs_name_is_no_formula(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    write_study(folder, classes=(name, "other"))
    study, conclusions = concluded(folder)
    save_figures(study, folder / "figures", read_predictions(folder), conclusions)
    assert name in (folder / "figures" / "confusion.svg").read_text()


def test_a_test_set_that_was_not_seen_by_all_compares_nobody(tmp_path: Path) -> None:
    """Interrupted while test images were predicted."""
    folder = tmp_path / "study"
    folder.mkdir()
    write_study(folder, finalists=3)
    study, whole = concluded(folder)
    assert whole.versus
    assert whole.settings
    last = study.confirmed[-1]["median"]
    predictions = read_predictions(folder)
    lost = (predictions["trial"] == last) & (predictions["split"] == "test")
    found = derive_conclusions(study, predictions[~lost])
    assert found.versus == found.settings == ()


def test_an_opened_test_set_is_never_told_to_be_sealed(tmp_path: Path) -> None:
    """A study that was confirmed and is resumed: nothing is confirmed yet, but it was opened."""
    folder = made_study(tmp_path / "study", confirmed=2)
    assert read_manifest(folder)["test_set_opened"]
    told = words(*concluded(folder, confirmed=[]))
    assert "not been opened" not in told
    assert "One seed was run" not in told
    assert told.count("was opened on 2026-01-02") >= 2


def test_a_bare_search_is_told_to_be_sealed(tmp_path: Path) -> None:
    told = words(*concluded(made_study(tmp_path / "study")))
    assert "The test split has not been opened" in told
    assert "The test set has not been opened" in told


def test_a_cell_that_was_lost_is_not_left_out_of_the_grid(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    write_study(folder, whole=True)
    study, _ = concluded(folder)
    lost = study.confirmed[-1]
    config_id = study.trial(lost["trial"])["config_id"]
    for table in (study.trials, study.replicates):
        table.loc[table["config_id"] == config_id, "status"] = "failed"
    study.manifest["confirmed"] = study.confirmed[:-1]
    table = by_configuration(study)
    assert lost["trial"] in set(table["configuration"])
    assert table.set_index("configuration")["seeds"][lost["trial"]] == "0 (failed)"
    told = confirmation_table(study, derive_conclusions(study, read_predictions(folder)))
    assert "Of 1 of the 4 a replicate failed or diverged" in told


def test_more_classes_than_two_have_no_operating_point_and_no_patients_no_unit(
    tmp_path: Path,
) -> None:
    folder = made_study(tmp_path / "study", classes=("a", "b", "c"), confirmed=1)
    data = {**read_manifest(folder)["data"], "patients_known": False}
    told = words(*concluded(folder, data=data))
    assert "operating point" not in told.partition("## Methods")[2]
    assert "with the image as the unit" in told
    assert "patients in two splits" not in told


def test_whole_numbers_are_told_whole() -> None:
    assert [short_label(value) for value in (1024.0, 16384.0, 0.00123456, "512-256", True)] == [
        "1024", "16384", "0.00123", "512-256", "True",
    ]  # fmt: skip


def test_a_score_without_an_interval_has_none_in_the_dot_plot() -> None:
    scores = pd.Series([0.7, 0.8], index=["t0000", "t0001"])
    tests = (("t0001r1", 0.75, float("nan"), float("nan")),)
    nothing = pd.Series(dtype=float)
    found = plot([Group("a", scores, nothing, tests)], ascending=False, by="model")
    assert found.rows[0].tests[0].told == "t0001r1 on test: 0.750"
    none = plot([Group("a", scores, nothing), Group("b", nothing, nothing)], ascending=False, by="")
    assert none.hidden == 0  # it has nothing to show


def test_rows_of_the_forest_say_what_differs_and_have_room() -> None:
    long = "model timm:tf_efficientnet_lite0, lr 0.001, batch_size 32, dropout {}"
    assert _levels("configuration", long.format(0.1), long.format(0.5)) == (
        "dropout 0.1 less dropout 0.5"
    )
    assert _levels("lr", "0.001", "0.01") == "lr: 0.001 less 0.01"
    rows = [Difference(str(k), (-1) ** k * k / 100, 0, 0) for k in range(190)]
    shown = _largest(rows, 28)
    assert [one.label for one in shown] == [str(k) for k in range(162, 190)]
