"""Unusual studies are reported correctly and completely."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.figures.conftest import write_study
from tests.analysis.study_factory import make_study
from tune_bio.analysis.conclusions import Conclusions, derive_conclusions
from tune_bio.analysis.figures.comparisons import Difference, _largest, _levels
from tune_bio.analysis.figures.draw_all import save_figures
from tune_bio.analysis.figures.style import short_label
from tune_bio.analysis.page.answer import answer
from tune_bio.analysis.study_records import StudyRecords, read_study
from tune_bio.analysis.summary.confirmation_table import confirmation_table
from tune_bio.analysis.summary.summary import summary_parts
from tune_bio.analysis.tables.trial_table import by_configuration
from tune_bio.records.manifest_file import read_manifest, write_manifest
from tune_bio.records.tables import read_predictions

Read = Callable[..., tuple[StudyRecords, Conclusions]]


def conclude(folder: Path, **manifest: Any) -> tuple[StudyRecords, Conclusions]:
    write_manifest(folder, {**read_manifest(folder), **manifest})
    study = read_study(folder)
    return study, derive_conclusions(study, read_predictions(folder))


def report_text(study: StudyRecords, conclusions: Conclusions) -> str:
    return "\n".join([*summary_parts(study, conclusions), *answer(study, conclusions)])


@pytest.mark.parametrize("name", ["c $\\foo$ d", "over $5 and $10", "50 % _of_ {a}"])
def test_a_class_name_is_not_typeset_as_a_formula(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    write_study(folder, classes=(name, "other"))
    study, conclusions = conclude(folder)
    save_figures(study, folder / "figures", read_predictions(folder), conclusions)
    assert name in (folder / "figures" / "confusion.svg").read_text()


def test_finalists_without_test_predictions_are_not_compared(tmp_path: Path) -> None:
    """The study was interrupted while predicting test images."""
    folder = tmp_path / "study"
    folder.mkdir()
    write_study(folder, finalists=3)
    study, conclusions = conclude(folder)
    assert conclusions.versus
    assert conclusions.settings
    last = study.confirmed[-1]["median"]
    predictions = read_predictions(folder)
    lost = (predictions["trial"] == last) & (predictions["split"] == "test")
    partial = derive_conclusions(study, predictions[~lost])
    assert partial.versus == partial.settings == ()


def test_an_opened_test_set_is_never_reported_as_unopened(tmp_path: Path) -> None:
    """A confirmed study was resumed: no configuration is confirmed yet, but it was opened."""
    folder = make_study(tmp_path / "study", confirmed=2)
    assert read_manifest(folder)["test_set_opened"]
    text = report_text(*conclude(folder, confirmed=[]))
    assert "not been opened" not in text
    assert "trained under one seed" not in text
    assert text.count("was opened on 2026-01-02") >= 2


def test_a_search_reports_its_test_set_as_unopened(tmp_path: Path) -> None:
    text = report_text(*conclude(make_study(tmp_path / "study")))
    assert "The test set has not been opened: no trial" in text
    assert "The test set has not been opened." in text


def test_a_configuration_that_failed_is_listed_with_the_grid(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    write_study(folder, whole=True)
    study, _ = conclude(folder)
    lost = study.confirmed[-1]
    config_id = study.trial(lost["trial"])["config_id"]
    for table in (study.trials, study.replicates):
        table.loc[table["config_id"] == config_id, "status"] = "failed"
    study.manifest["confirmed"] = study.confirmed[:-1]
    table = by_configuration(study)
    assert lost["trial"] in set(table["configuration"])
    assert table.set_index("configuration")["seeds"][lost["trial"]] == "0 (failed)"
    section = confirmation_table(study, derive_conclusions(study, read_predictions(folder)))
    assert "because a replicate failed or diverged: 1 of 4." in section


def test_three_classes_have_no_operating_point_and_unknown_patients_are_not_the_unit(
    tmp_path: Path,
) -> None:
    folder = make_study(tmp_path / "study", classes=("a", "b", "c"), confirmed=1)
    data = {**read_manifest(folder)["data"], "patients_known": False}
    text = report_text(*conclude(folder, data=data))
    assert "operating point" not in text.partition("## Methods")[2]
    assert "the image as the unit" in text
    assert "no patient in two splits" not in text


def test_integers_are_formatted_without_decimals() -> None:
    assert [short_label(value) for value in (1024.0, 16384.0, 0.00123456, "512-256", True)] == [
        "1024", "16384", "0.00123", "512-256", "True",
    ]  # fmt: skip


def test_rows_of_the_forest_plot_name_what_differs_and_have_room() -> None:
    long = "model timm:tf_efficientnet_lite0, lr 0.001, batch_size 32, dropout {}"
    assert _levels("configuration", long.format(0.1), long.format(0.5)) == (
        "dropout 0.1 minus dropout 0.5"
    )
    assert _levels("lr", "0.001", "0.01") == "lr: 0.001 minus 0.01"
    rows = [Difference(str(k), (-1) ** k * k / 100, 0, 0) for k in range(190)]
    shown = _largest(rows, 28)
    assert [difference.label for difference in shown] == [str(k) for k in range(162, 190)]
