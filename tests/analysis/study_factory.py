"""Study folders in the form that a search writes, made without training."""

from pathlib import Path
from typing import Any

import numpy as np

from tune_bio.records.curve_summary import summarize
from tune_bio.records.manifest_file import write_manifest
from tune_bio.records.predictions import SplitImages
from tune_bio.records.tables import Records
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import TrialConfig

IMAGES = 60
LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


def make_study(
    folder: Path,
    *,
    trials: int = 6,
    epochs: int = 4,
    classes: tuple[str, ...] = ("well", "ill"),
    confirmed: int = 0,
    replicates: int = 2,
    failed: int = 0,
    ended: bool = True,
    **manifest: Any,
) -> Path:
    """Write the tables and manifest of a study, and return its folder.

    Args:
        folder: the folder to create.
        trials, epochs: size of the search; the last `failed` trials have no epochs. Later trials
            have better scores.
        classes: names of the classes.
        confirmed, replicates: the number of finalists, with test scores, and of their fresh seeds.
        failed: the number of failed trials.
        ended: if False, the last trial is running and the manifest lacks its final entries.
        manifest: entries that replace the default ones.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    labels = np.arange(IMAGES) % len(classes)
    names = np.array([f"i{k}" for k in range(IMAGES)])
    records = Records(folder, classes, names, names, labels)
    for number in range(trials):
        status = "failed" if number >= trials - failed else "completed"
        status = "running" if not ended and number == trials - 1 else status
        _trial(records, number, 0, 0 if status == "failed" else epochs, status, rng)
    finalists = list(range(trials - failed))[::-1][:confirmed]
    for number in finalists:
        for replicate in range(1, replicates + 1):
            _trial(records, number, replicate, epochs, "completed", rng)
    confirmations = [_confirmed(records, number) for number in finalists]
    if confirmations:
        records.test = SplitImages(names, names, labels)
        for finalist in confirmations:
            _test_scores(records, finalist["median"], rng)
    records.write()
    opened = bool(confirmations)
    entries = {**_manifest(records, classes, opened), "confirmed": confirmations, **manifest}
    if ended:
        scored = [t for t, row in records.trials.items() if row["status"] == "completed"]
        best = confirmations[0]["median"] if confirmations else max(scored, default=None)
        entries |= {"seconds": 12.0, "timeline": records.timeline, "interrupted": False}
        entries |= {"best_trial": best, **manifest}
    write_manifest(folder, entries)
    return folder


def _trial(
    records: Records, number: int, replicate: int, epochs: int, status: str, rng: Any
) -> None:
    trial = f"t{number:04d}" + (f"r{replicate}" if replicate else "")
    params = {
        "model": ("cnn", "cnn_gap", "ann")[number % 3],
        "lr": LEARNING_RATES[number % 5] * (1 + number / 1000),
        "batch_size": 16 * (1 + number % 2),
        "seed": replicate,
    }
    records.start_trial(trial, f"c{number}", TrialConfig.of(params), replicate)
    auroc = 0.6 + 0.3 * number / 500 + 0.0005 * rng.random(epochs)
    loss = 0.7 / np.arange(1, epochs + 1) + 0.01 * rng.random(epochs)
    rows = [
        {
            "epoch": k + 1,
            "train_loss": float(loss[k]),
            "train_accuracy": 0.8,
            "val_loss": float(loss[k] + 0.1),
            "val_accuracy": 0.7,
            "val_balanced_accuracy": 0.7,
            "val_macro_f1": 0.6,
            "val_auroc": float(auroc[k]),
            "lr": params["lr"],
            "seconds": 1.0,
        }
        for k in range(epochs)
    ]
    records.add_epochs(trial, rows)
    error = "it ended: <b>look</b> at the log" if status == "failed" else None
    summary = summarize(rows, "val_auroc", "max") if rows else {}
    extra = {"parameters": 1000 + number, "epochs_trained": epochs}
    records.update_trial(trial, **{**summary, **extra, "status": status, "error": error})
    if rows and number < 40:  # enough to draw conclusions from
        records.predictions[trial] = _probabilities(records.labels, len(records.classes), rng)


def _probabilities(labels: Any, classes: int, rng: Any) -> Any:
    raw = rng.random((len(labels), classes)) + 0.5 * np.eye(classes)[labels]
    return (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)


def _confirmed(records: Records, number: int) -> dict[str, Any]:
    trial = f"t{number:04d}"
    scores = {
        name: max(row["val_auroc"] for row in records.curve(name))
        for name in records.trials
        if name.startswith(f"{trial}r")
    }
    median = sorted(scores, key=lambda name: scores[name])[(len(scores) - 1) // 2]
    mean = float(np.mean(list(scores.values())))
    return {"trial": trial, "scores": scores, "mean": mean, "median": median}


def _test_scores(records: Records, trial: str, rng: Any) -> None:
    probabilities = _probabilities(records.labels, len(records.classes), rng)
    records.test_predictions[trial] = probabilities
    for split in ("val", "test"):
        for metric, value in (("auroc", 0.81), ("accuracy", 0.75), ("loss", 0.55)):
            records.evaluations.append(
                {
                    "trial": trial, "split": split, "metric": metric, "value": value,
                    "low": value - 0.05, "high": value + 0.05, "chance": 0.5, "method": "by hand",
                }
            )  # fmt: skip
    records.update_trial(
        trial, test_auroc=0.81, test_auroc_low=0.76, test_auroc_high=0.86, test_accuracy=0.75,
        test_accuracy_low=0.7, test_accuracy_high=0.8, test_loss=0.55,
    )  # fmt: skip


def _manifest(records: Records, classes: tuple[str, ...], opened: bool) -> dict[str, Any]:
    counts = np.bincount(records.labels, minlength=len(classes)).tolist()
    split = {
        "images": IMAGES,
        "patients": IMAGES,
        "classes": dict(zip(classes, counts, strict=True)),
        "sha256": "ab" * 32,
    }
    opening = {"when": "2026-01-02T03:04:05+00:00", "images": IMAGES, "sha256": "cd" * 32}
    return {
        "name": records.folder.name,
        "question": "Which of them is best?",
        "started": "2026-01-02T03:04:05+00:00",
        "command": ["/here/tune_bio/search.py", "space.py", "--num-trials", "6"],
        "settings": SearchSettings().model_dump(),
        "space": {"file": "space.py", "sha256": "ef" * 32, "pinned": {}, "listed": None},
        "data": {
            "source": "scans", "synthetic": False, "classes": list(classes),
            "positive_class": classes[-1], "pixels": {"shape": [8, 8]}, "split": "given",
            "patients_known": True, "patients_on_two_sides": 0, "notes": [],
            "splits": {"train": split, "val": split, "test": split},
        },
        "audit": {"findings": []},
        "left_out": [],
        "test_set_opened": [opening] if opened else [],
        "versions": {"tune_bio": "0.1.0"},
    }  # fmt: skip
