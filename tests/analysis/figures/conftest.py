"""A stored study of four configurations and its figures' material, written by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from tune_bio.analysis.conclusions import derive_conclusions
from tune_bio.analysis.figures.draw_all import FIGURES, figure_data_of
from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.style import styled
from tune_bio.analysis.study_records import read_study
from tune_bio.records.curve_summary import summarize
from tune_bio.records.manifest_file import write_manifest
from tune_bio.records.predictions import SplitImages
from tune_bio.records.tables import Records, read_predictions
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.metrics import auroc

CLASSES = ("正常", "肺炎")
CONFIGS: list[dict[str, Any]] = [
    {"model": "cnn", "lr": 1e-3, "width": 16},
    {"model": "cnn_gap", "lr": 1e-3, "width": 16},
    {"model": "cnn_gap", "lr": 5e-3, "width": 16},
    {"model": "cnn", "lr": 5e-3, "width": 16},
]
ENDS = {"t0000": 6, "t0001": 6, "t0002": 2, "t0003": 2}
SKILL = {"t0000": 1.2, "t0001": 0.9, "t0002": 0.2, "t0003": 0.5}
PATIENTS = {"val": 60, "test": 80}
CONTROLS = {"majority": 0.5, "border": 0.6, "pixels": 0.64}
THRESHOLD = 0.45
Builder = Callable[..., FigureData]

OPENED = {"when": "2026-01-02T03:04:05+00:00", "images": 160, "sha256": "0"}


def _split(name: str, classes: int) -> SplitImages:
    """Two images a patient."""
    count = 2 * PATIENTS[name]
    patients = [f"{name}-病人-{k // 2}" for k in range(count)]
    images = [f"{patient}/图像_{k % 2}.png" for k, patient in enumerate(patients)]
    labels = np.arange(count) // 2 % classes
    return SplitImages(np.array(images), np.array(patients), labels.astype(np.int64))


def _probabilities(split: SplitImages, skill: float, classes: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(split.labels), classes))
    logits += skill * np.eye(classes)[split.labels]
    shares = np.exp(logits)
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def _curve(best: float, epochs: int) -> list[dict[str, Any]]:
    """The metric rises to `best` at the last epoch."""
    return [
        {
            "epoch": epoch, "train_loss": 0.7 / epoch, "val_loss": 0.6 + 0.01 * (epochs - epoch),
            "val_auroc": best - 0.02 * (epochs - epoch), "val_accuracy": 0.7,
            "train_accuracy": 0.8, "seconds": 2.0,
        }
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip


def write_study(
    folder: Path, *, classes: tuple[str, ...] = CLASSES, opened: bool = True,
    whole: bool = False, finalists: int = 2, replicates: int = 3,
) -> None:  # fmt: skip
    """Write the records of a study that has ended; `finalists` of 0 is a bare search."""
    val, test = _split("val", len(classes)), _split("test", len(classes))
    records = Records(folder, classes, val.images, val.patients, val.labels)
    records.test = test if opened else None
    finals = list(ENDS)[: len(ENDS) if whole else finalists]
    names = [(t, k) for t in ENDS for k in range(replicates + 1) if k == 0 or t in finals]
    if whole:
        names = [(trial, k) for trial, k in names if k < replicates]
    counted: dict[str, dict[str, float]] = {trial: {} for trial in finals}
    for number, (trial, k) in enumerate(names):
        own = trial + (f"r{k}" if k else "")
        skill, index = SKILL[trial], list(ENDS).index(trial)
        config = TrialConfig.of({**CONFIGS[index], "epochs": 6, "seed": k})
        records.start_trial(own, f"c{index}", config, replicate=k)
        found = _probabilities(val, skill, len(classes), seed=100 * index + k)
        score = auroc(val.labels, found.astype(np.float64), positive=1)
        epochs = ENDS[trial] if k == 0 and not whole else 6
        rows = _curve(score, epochs)
        records.add_epochs(own, rows)
        status = "completed" if epochs == 6 else "stopped_early"
        records.update_trial(
            own, **summarize(rows, "val_auroc", "max"), status=status, parameters=1000,
            multiply_adds=10**5 * (index + 1) ** 3,
        )  # fmt: skip
        records.timeline[own] = [2.0 * number, 2.0 * number + 2.0 * epochs]
        records.predictions[own] = found
        if trial in finals and (k or whole):
            counted[trial][own] = score
            sees = [("val", score)]
            if opened:
                on_test = _probabilities(test, skill, len(classes), seed=999 + 100 * index + k)
                records.test_predictions[own] = on_test
                sees.append(("test", auroc(test.labels, on_test.astype(np.float64), positive=1)))
            records.evaluations += [_row(own, split, value) for split, value in sees]
    for name, value in CONTROLS.items():
        records.evaluations += [_row(f"control:{name}", s, value) for s in ("val", "test")]
    records.write()
    write_manifest(folder, _manifest(records, counted, opened=opened, whole=whole))


def _row(trial: str, split: str, value: float) -> dict[str, Any]:
    low, high = value - 0.05, value + 0.05
    told = {"metric": "auroc", "value": value, "low": low, "high": high, "method": "m", "note": ""}
    return {"trial": trial, "split": split, **told}


def _manifest(
    records: Records, counted: dict[str, dict[str, float]], *, opened: bool, whole: bool
) -> dict[str, Any]:
    settings = SearchSettings(
        num_trials=4, max_epochs=6, grace_period=2, finalists="all" if whole else len(counted)
    )
    confirmed = [
        {
            "trial": trial, "config_id": trial, "scores": scores,
            "mean": float(np.mean(list(scores.values()))),
            "median": sorted(scores, key=scores.__getitem__)[(len(scores) - 1) // 2],
        }
        for trial, scores in counted.items()
    ]  # fmt: skip
    confirmed.sort(key=lambda one: -one["mean"])
    best = confirmed[0]["median"] if confirmed else "t0000"
    classes = list(records.classes)
    return {
        "name": "figures",
        "audit": {"findings": []},
        "settings": settings.model_dump(),
        "space": {"listed": 4 if whole else None, "hyperparameters": {"model": "", "lr": ""}},
        "timeline": records.timeline,
        "seconds": 60.0,
        "interrupted": False,
        "best_trial": best,
        "confirmed": confirmed,
        "thresholds": {best: THRESHOLD if len(classes) == 2 else None} if confirmed else {},
        "test_set_opened": [OPENED] if opened else [],
        "controls": {
            "predictors": [
                {"name": name, "looks_at": "", "validation": {"auroc": value}}
                for name, value in CONTROLS.items()
            ]
        },
        "data": {
            "source": "s", "synthetic": False, "classes": classes, "positive_class": classes[1],
            "patients_known": True, "notes": [],
        },
    }  # fmt: skip


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Write a study, read it and draw its conclusions; the same one once."""
    kept: dict[str, FigureData] = {}

    def of(**options: Any) -> FigureData:
        key = repr(sorted(options.items()))
        if key not in kept:
            folder = tmp_path_factory.mktemp("study")
            write_study(folder, **options)
            study, predictions = read_study(folder), read_predictions(folder)
            kept[key] = figure_data_of(study, predictions, derive_conclusions(study, predictions))
        return kept[key]

    return of


@pytest.fixture(scope="session")
def material(build: Builder) -> FigureData:
    """Of two finalists under three seeds, the test set opened."""
    return build()


@pytest.fixture(scope="session")
def drawn() -> Callable[[FigureData, str], Figure]:
    """Draw one figure in the style, where it is worth it."""

    def of(material: FigureData, name: str) -> Figure:
        drawing = FIGURES[name]
        assert drawing.worth(material)
        with styled(material.characters):
            figure = drawing.draw(material)
            figure.draw_without_rendering()
        return figure

    return of


@pytest.fixture(scope="session")
def by_gid() -> Callable[[Figure, str], Any]:
    """The artist of a figure that has this name."""

    def of(figure: Figure, gid: str) -> Any:
        found = figure.findobj(lambda artist: artist.get_gid() == gid)
        assert found, f"nothing is called {gid}"
        return found[0]

    return of
