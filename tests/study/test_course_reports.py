"""The search spaces of the course reports, each run completely on very few images."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import torchvision

from tests.study.conftest import Finished
from tune_bio.analysis.study_records import read_study
from tune_bio.models.weights import published
from tune_bio.search import main

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

import course_reports
import generate_reports
import reports_page

Run = Callable[..., Finished]
FOLDER = Path(__file__).parents[2] / "search_spaces"
# One trial at a time, without a GPU.
ALWAYS = ("--no-controls", "--gpus-per-trial", "0", "--max-concurrent", "1", "--quiet")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "fetch", lambda file: (None, "no network in tests"))


@pytest.fixture
def report(tmp_path: Path, tiny_npz: Path, cluster: None) -> Run:
    """Return a function that runs the search space of a report, by default on images of 16 px."""

    def run(name: str, *flags: str, data: str = str(tiny_npz)) -> Finished:
        arguments = [str(FOLDER / f"{name}.py"), "--data", data, "--results", str(tmp_path)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status = main([*arguments, *ALWAYS, *flags])
        return Finished(status, tmp_path / name)

    return run


def summary(finished: Finished) -> str:
    return (finished.folder / "summary.md").read_text()


def judged_hyperparameters(finished: Finished) -> set[str]:
    """Return the hyperparameters whose effect is judged."""
    return {effect["hyperparameter"] for effect in finished.manifest["conclusions"]["effects"]}


def test_lengths_of_an_ann_are_one_training_if_the_lr_schedule_allows_it(report: Run) -> None:
    finished = report("ann_epochs", "--max-epochs", "20", "--replicates", "2")
    assert finished.status == 0
    trials = finished.trials
    assert len(trials) == (3 * 2 + 2 * 2) * 2
    assert set(trials["status"]) == {"completed"}
    assert trials["test_accuracy"].notna().all()
    trained = trials.groupby("params.lr_schedule")["epochs_trained"].sum()
    assert trained.to_dict() == {"cosine": 2 * 30, "step": 2 * 3 * 20, "constant": 2 * 20}
    # Only the longest trial of a training counts; where lengths differ, they are judged.
    assert judged_hyperparameters(finished) == {"epochs", "lr_schedule", "depth"}
    text = summary(finished)
    assert "## All configurations" in text
    assert sum("lr_schedule step" in line for line in text.splitlines()) >= 6


def test_losses_and_batch_sizes_are_compared_in_one_grid(report: Run) -> None:
    flags = ("--max-epochs", "2", "--replicates", "2", "--set", "lr=0.001")
    finished = report("loss_and_batch", *flags)
    assert finished.status == 0
    trials = finished.trials
    assert sorted(trials["params.batch_size"].unique()) == [2, 16, 32, 128]
    assert len(trials) == 8 * 2
    assert judged_hyperparameters(finished) == {"loss", "batch_size", "width"}
    # Both losses are evaluated the same way: neither is perfect after two epochs on such images.
    assert trials["final_val_loss"].between(0.05, 3).all()


@pytest.mark.slow
def test_configurations_with_unavailable_weights_are_listed_as_not_run(report: Run) -> None:
    pins = ("--set", "image_size=32", "--set", "batch_size=64")
    finished = report(
        "weights_and_batch", "--max-epochs", "1", "--replicates", "1", *pins, data="phantom:6"
    )
    assert finished.status == 0
    assert finished.trials["params.weights"].tolist() == ["none"]
    assert len(finished.manifest["data"]["classes"]) == 6
    not_run = finished.manifest["not_run"]
    assert {(entry["params"]["weights"], entry["params"]["freeze"]) for entry in not_run} == {
        (f"IMAGENET1K_V{v}", freeze) for v in (1, 2) for freeze in ("none", "backbone")
    }
    assert all("no network in tests" in entry["reason"] for entry in not_run)
    rows = [line for line in summary(finished).splitlines() if line.startswith("| not run |")]
    assert len(rows) == len(not_run) == 4
    assert "weights IMAGENET1K_V2, freeze backbone" in "".join(rows)
    table = pd.read_csv(finished.folder / "tables" / "trials.csv")
    assert (table["status"] == "not run").sum() == 4
    assert "not run" in (finished.folder / "tables" / "trials.tex").read_text()


def test_fixed_features_are_computed_once_unless_images_are_jittered(
    report: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.save(torchvision.models.squeezenet1_0().state_dict(), folder / "squeezenet1_0.pth")
    finished = report(
        "finetune_or_features", "--max-epochs", "2", "--replicates", "2", "--weights-dir",
        str(folder), "--set", "resize=40", "--set", "crop=32",
        "--metric", "val_auroc",  # after two epochs all have the same accuracy
    )  # fmt: skip
    assert finished.status == 0
    trials = finished.trials
    assert len(trials) == 3 * 2
    (features,) = finished.manifest["features"]
    assert features["of"] == "squeezenet1_0 (IMAGENET1K_V1), backbone, 32 px"
    assert features["computed"]
    without_jitter = trials["params.augment"] == "none"
    assert set(trials.loc[without_jitter, "params.freeze"]) == {"backbone"}
    assert set(trials.loc[~without_jitter, "params.freeze"]) == {"none", "backbone"}
    assert len(finished.manifest["not_run"]) == 5
    assert {entry["params"]["model"] for entry in finished.manifest["not_run"]} == {"resnet18"}
    assert judged_hyperparameters(finished) == {"freeze", "augment"}  # the lr depends on freeze


def test_networks_with_several_differences_are_compared_as_wholes(report: Run) -> None:
    finished = report("ann_cnn_gap", "--max-epochs", "2", "--replicates", "2")
    assert finished.status == 0
    assert len(finished.trials) == 5 * 2
    assert judged_hyperparameters(finished) == {"configuration"}
    (effect,) = finished.manifest["conclusions"]["effects"]
    assert len(effect["means"]) == 5
    assert "Whole configurations are compared" in summary(finished)
    run = reports_page.read(course_reports.ANN_CNN_GAP, finished.folder)
    page = "\n".join(reports_page.section(run))
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| CNN")]
    assert [row[0] for row in rows] == [
        "| CNN (two figures for one network)", "| CNN with dropout", "| CNN-GAP",
        "| CNN-GAP, wider",
    ]  # fmt: skip
    assert all(row[4] == "2" for row in rows), "seeds"
    assert "here: seeds" in page
    claim = course_reports.ANN_CNN_GAP.claims[0]
    word, figures = reports_page.judged(claim, read_study(finished.folder))
    assert word in {"**held up**", "**equal**", "**noise**", "**the opposite**"}
    assert "would be seen in 80 % of such grids" in figures
    assert f"| {claim.text} | {word} {figures} |" in page


def test_all_rows_of_a_report_are_printed_even_if_nothing_could_be_run() -> None:
    run = reports_page.not_run(course_reports.WEIGHTS_AND_BATCH, "offline")
    page = "\n".join(reports_page.section(run))
    assert "**Not run here**: offline" in page
    rows = [line for line in page.splitlines() if line.startswith("| V")]
    assert len(rows) == 9
    assert all(row.endswith("| not run |") for row in rows)


def test_missing_real_images_are_reported(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="TUNE_BIO_REAL_DATA is not set"):
        generate_reports.source_of(None)
    with pytest.raises(ValueError, match="holds neither"):
        generate_reports.source_of(str(tmp_path))
    (tmp_path / "pneumoniamnist_dev.npz").touch()
    assert generate_reports.source_of(str(tmp_path))[-1] == "--allow-leakage"
    (tmp_path / "chest_xray").mkdir()
    assert generate_reports.source_of(str(tmp_path)) == ("--data", str(tmp_path / "chest_xray"))


def test_another_model_is_added_for_a_report_whose_weights_are_unavailable() -> None:
    tasks = {task.key: task for task in generate_reports.tasks("reduced", ())}
    assert list(tasks) == ["A", "B", "C", "C, another model", "D", "E"]
    assert "no network in tests" in tasks["C"].missing
    assert "resnext50_32x4d IMAGENET1K_V2" in tasks["C"].missing
    assert "model=squeezenet1_0" in tasks["C, another model"].flags
    assert not tasks["A"].missing
