"""The summary and the live display, from handwritten records."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tune_bio.analysis.conclusions import derive_conclusions
from tune_bio.analysis.study_records import read_study
from tune_bio.analysis.summary.markdown_table import markdown_table
from tune_bio.analysis.summary.summary import write_summary
from tune_bio.console.progress import hyperparameters_text, trial_display
from tune_bio.records.curve_summary import summarize
from tune_bio.records.manifest_file import write_manifest
from tune_bio.records.ranking import rank
from tune_bio.records.tables import Records, read_predictions
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import TrialConfig

SETTINGS = SearchSettings()
CONFIGS = [
    {"model": "ann", "lr": 1e-3, "width": "32-16"},
    {"model": "ann", "lr": 1e-2, "width": 64},
    {"model": "cnn", "lr": 3e-3},
    {"model": "resnet18", "weights": "imagenet", "freeze": "backbone", "lr": 2e-2},
    {"model": "cnn", "lr": 5.0},
]
STATUSES = ["completed", "stopped_early", "completed", "stopped_early", "failed"]


def write_records(folder: Path, configs: list[dict[str, Any]], statuses: list[str]) -> Records:
    rng = np.random.default_rng(1)
    names = np.array(["a", "b"])
    records = Records(folder, ("well", "ill"), names, names, np.array([0, 1]))
    for number, (params, status) in enumerate(zip(configs, statuses, strict=True)):
        trial_id = f"t{number:04d}"
        records.start_trial(trial_id, f"c{number}", TrialConfig.of(params))
        rows = [
            {
                "epoch": epoch,
                "train_loss": 0.7 / epoch,
                "val_loss": 0.7,
                "val_auroc": 0.5 + 0.1 * number + 0.01 * rng.random(),
                "train_accuracy": 0.8,
                "val_accuracy": 0.7,
                "seconds": 1.0,
            }
            for epoch in range(1, 0 if status == "failed" else 5)
        ]
        records.add_epochs(trial_id, rows)
        error = "a reason: a remedy" if status == "failed" else None
        records.update_trial(
            trial_id, **summarize(rows, "val_auroc", "max"), status=status, error=error
        )
    records.write()
    split = {"images": 2, "patients": 2, "classes": {"well": 1, "ill": 1}}
    write_manifest(
        folder,
        {
            "name": "study",
            "settings": SETTINGS.model_dump(),
            "seconds": 12.0,
            "timeline": records.timeline,
            "best_trial": "t0003" if "completed" in statuses and len(configs) > 3 else None,
            "left_out": ["resnet18 with weights=none: a reason"],
            "data": {
                "source": "s", "split": "given", "patients_known": True, "notes": ["synthetic"],
                "splits": {"train": split, "val": split, "test": split}, "synthetic": False,
                "classes": ["well", "ill"], "positive_class": "ill", "pixels": {"shape": [8, 8]},
                "patients_on_two_sides": 0,
            },
            "space": {"listed": None},
            "test_set_opened": [],
            "audit": {"findings": []},
        },
    )  # fmt: skip
    return records


def test_the_summary_reports_the_best_trial_failures_and_omissions(tmp_path: Path) -> None:
    write_records(tmp_path, CONFIGS, STATUSES)
    study = read_study(tmp_path)
    write_summary(study, derive_conclusions(study, read_predictions(tmp_path)), tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert study.ranking.iloc[0]["trial_id"] == "t0003"
    assert "The best trial is **t0003**" in text
    assert "t0004 failed: a reason: a remedy" in text
    assert "resnet18 with weights=none" in text
    assert "has not been opened" in text
    assert (
        "2 images (2 patients) for testing. No patient has images in more than one split." in text
    )
    assert "5 configurations were proposed by the tree-structured Parzen estimator" in text
    rows = [line for line in text.splitlines() if line.startswith("| t00")]
    assert [row.split(" ")[1] for row in rows] == ["t0003", "t0002", "t0001", "t0000"]


def test_a_study_without_a_score_says_so(tmp_path: Path) -> None:
    write_records(tmp_path, CONFIGS[:1], ["failed"])
    study = read_study(tmp_path)
    write_summary(study, derive_conclusions(study, read_predictions(tmp_path)), tmp_path)
    assert "No trial has a score" in (tmp_path / "summary.md").read_text()


def test_markdown_cells_do_not_break_the_table() -> None:
    import pandas as pd

    table = markdown_table(pd.DataFrame({"a|b": ["x|y", None], "n": [0.123456, np.nan]}))
    assert table.splitlines()[2:] == ["| x\\|y | 0.1235 |", "| - | - |"]


def _shown(records: Records, *, terminal: bool, quiet: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120, highlight=False)
    with trial_display(console, records, SETTINGS, ("model", "lr"), 9, quiet=quiet) as view:
        for trial_id in records.trials:
            view.started(trial_id)
            view.progressed(trial_id)
            view.ended(trial_id)
    return stream.getvalue()


def test_the_live_display_shows_running_and_best_trials(tmp_path: Path) -> None:
    records = write_records(tmp_path, CONFIGS, [*STATUSES[:4], "running"])
    text = _shown(records, terminal=True)
    assert "4/9" in text
    assert "left" in text
    running, best = text.split("best so far")[0], text.split("best so far")[-1]
    assert "t0004" in running
    assert best.index("t0003") < best.index("t0002")


def test_a_pipe_gets_one_line_per_trial_and_quiet_none(tmp_path: Path) -> None:
    records = write_records(tmp_path, CONFIGS, STATUSES)
    lines = _shown(records, terminal=False).splitlines()
    assert [line.split("]")[0] for line in lines if line.startswith("[")] == [
        f"[{n}/9" for n in range(1, 6)
    ]
    assert "model" not in lines[0]
    assert "ann lr=0.001" in lines[0]
    assert "a reason: a remedy" in lines[-1]
    assert _shown(records, terminal=False, quiet=True) == ""


def test_ranking_prefers_better_then_earlier_trials(tmp_path: Path) -> None:
    records = write_records(tmp_path, CONFIGS[:3], STATUSES[:3])
    for trial_id in records.trials:
        for row in records.epochs[trial_id].values():
            row["val_auroc"] = 0.5
    order = [row["trial_id"] for _, row in rank(list(records.trials.values()), records, SETTINGS)]
    assert order == ["t0000", "t0001", "t0002"]


def test_descriptions_omit_inactive_and_default_hyperparameters() -> None:
    row = {"params.model": "cnn", "params.weights": "none", "params.lr": 0.00123456}
    assert hyperparameters_text(row, ("model", "weights", "freeze", "lr")) == "cnn lr=0.0012"
