"""The course reports' search spaces, each run from beginning to end on next to nothing."""

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

import course_reports as facts
import generate_reports as generator
import reports_page as pages

Run = Callable[..., Finished]
FOLDER = Path(__file__).parents[2] / "search_spaces"
# As one trial at a time, on CPUs alone.
ALWAYS = ("--no-controls", "--gpus-per-trial", "0", "--max-concurrent", "1", "--quiet")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "fetch", lambda found: (None, "no network in tests"))


@pytest.fixture
def report(tmp_path: Path, tiny_npz: Path, cluster: None) -> Run:
    """Run the search space of a report, on images of 16 px unless told otherwise."""

    def run(name: str, *flags: str, data: str = str(tiny_npz)) -> Finished:
        arguments = [str(FOLDER / f"{name}.py"), "--data", data, "--results", str(tmp_path)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status = main([*arguments, *ALWAYS, *flags])
        return Finished(status, tmp_path / name)

    return run


def summary(finished: Finished) -> str:
    return (finished.folder / "summary.md").read_text()


def verdicts(finished: Finished) -> set[str]:
    return {e["hyperparameter"] for e in finished.manifest["conclusions"]["effects"]}


def test_lengths_of_an_ann_are_one_training_where_the_schedule_allows_it(report: Run) -> None:
    finished = report("ann_epochs", "--max-epochs", "20", "--replicates", "2")
    assert finished.status == 0
    trials = finished.trials
    assert len(trials) == (3 * 2 + 2 * 2) * 2
    assert set(trials["status"]) == {"completed"}
    assert trials["test_accuracy"].notna().all()
    trained = trials.groupby("params.lr_schedule")["epochs_trained"].sum()
    assert trained.to_dict() == {"cosine": 2 * 30, "step": 2 * 3 * 20, "constant": 2 * 20}
    # Of the lengths of one training the longest counts, and lengths are judged where they differ.
    assert verdicts(finished) == {"epochs", "lr_schedule", "depth"}
    told = summary(finished)
    assert "## All configurations" in told
    assert sum("lr_schedule step" in line for line in told.splitlines()) >= 6


def test_losses_batches_and_rates_in_one_grid(report: Run) -> None:
    flags = ("--max-epochs", "2", "--replicates", "2", "--set", "lr=0.001")
    finished = report("loss_and_batch", *flags)
    assert finished.status == 0
    trials = finished.trials
    assert sorted(trials["params.batch_size"].unique()) == [2, 16, 32, 128]
    assert len(trials) == 8 * 2
    assert verdicts(finished) == {"loss", "batch_size", "width"}
    # Both losses through one evaluation: neither is perfect after two epochs on such images.
    assert trials["final_val_loss"].between(0.05, 3).all()


@pytest.mark.slow
def test_weights_that_cannot_be_had_are_rows_that_were_not_run(report: Run) -> None:
    pins = ("--set", "image_size=32", "--set", "batch_size=64")
    finished = report(
        "weights_and_batch", "--max-epochs", "1", "--replicates", "1", *pins, data="phantom:6"
    )
    assert finished.status == 0
    assert finished.trials["params.weights"].tolist() == ["none"]
    assert len(finished.manifest["data"]["classes"]) == 6
    missing = finished.manifest["not_run"]
    assert {(m["params"]["weights"], m["params"]["freeze"]) for m in missing} == {
        (f"IMAGENET1K_V{v}", freeze) for v in (1, 2) for freeze in ("none", "backbone")
    }
    assert all("no network in tests" in m["reason"] for m in missing)
    rows = [line for line in summary(finished).splitlines() if line.startswith("| not run |")]
    assert len(rows) == len(missing) == 4
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
    assert len(finished.manifest["features"]) == 1
    on_features = trials["params.augment"] == "none"
    assert set(trials.loc[on_features, "params.freeze"]) == {"backbone"}
    slower = trials.loc[~on_features, "seconds_per_epoch"].median()
    assert trials.loc[on_features, "seconds_per_epoch"].median() < slower
    assert len(finished.manifest["not_run"]) == 5
    assert {m["params"]["model"] for m in finished.manifest["not_run"]} == {"resnet18"}
    assert verdicts(finished) == {"freeze", "augment"}  # the head's lr goes with freeze


def test_networks_that_differ_in_several_things_are_compared_as_wholes(report: Run) -> None:
    finished = report("ann_cnn_gap", "--max-epochs", "2", "--replicates", "2")
    assert finished.status == 0
    assert len(finished.trials) == 5 * 2
    assert verdicts(finished) == {"configuration"}
    (effect,) = finished.manifest["conclusions"]["effects"]
    assert len(effect["means"]) == 5
    assert "Whole configurations are compared" in summary(finished)
    page = "\n".join(pages.section(pages.read(facts.ANN_CNN_GAP, finished.folder)))
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| CNN")]
    assert [row[0] for row in rows] == [
        "| CNN (two figures for one network)", "| CNN with dropout", "| CNN-GAP",
        "| CNN-GAP, wider",
    ]  # fmt: skip
    assert all(row[4] == "2" for row in rows), "seeds"
    assert "here: seeds" in page
    claim = facts.ANN_CNN_GAP.claims[0]
    word, told = pages.judged(claim, read_study(finished.folder))
    assert word in {"**held up**", "**equal**", "**noise**", "**the opposite**"}
    assert "would be seen in 80 % of such grids" in told
    assert f"| {claim.text} | {word} {told} |" in page


def test_every_row_of_a_report_is_printed_where_nothing_could_be_run() -> None:
    page = "\n".join(pages.section(pages.not_run(facts.WEIGHTS_AND_BATCH, "offline")))
    assert "**Not run here**: offline" in page
    rows = [line for line in page.splitlines() if line.startswith("| V")]
    assert len(rows) == 9
    assert all(row.endswith("| not run |") for row in rows)


def test_real_images_are_found_or_told_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="TUNE_BIO_REAL_DATA is not set"):
        generator.source_of(None)
    with pytest.raises(ValueError, match="holds neither"):
        generator.source_of(str(tmp_path))
    (tmp_path / "pneumoniamnist_dev.npz").touch()
    assert generator.source_of(str(tmp_path))[-1] == "--allow-leakage"
    (tmp_path / "chest_xray").mkdir()
    assert generator.source_of(str(tmp_path)) == ("--data", str(tmp_path / "chest_xray"))


def test_without_weights_the_question_is_put_to_another_model() -> None:
    found = {task.key: task for task in generator.tasks("reduced", ())}
    assert list(found) == ["A", "B", "C", "C, another model", "D", "E"]
    assert "no network in tests" in found["C"].missing
    assert "resnext50_32x4d IMAGENET1K_V2" in found["C"].missing
    assert "model=squeezenet1_0" in found["C, another model"].flags
    assert not found["A"].missing
