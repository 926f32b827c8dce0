"""A handwritten study of four configurations, and the figure data made from its records."""

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
    """Return a split with two images per patient."""
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
    """Return epochs whose metric rises to `best` at the last one."""
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
    """Write the records of a finished study; with 0 `finalists` it is a search only."""
    val, test = _split("val", len(classes)), _split("test", len(classes))
    records = Records(folder, classes, val.images, val.patients, val.labels)
    records.test = test if opened else None
    finals = list(ENDS)[: len(ENDS) if whole else finalists]
    names = [(t, k) for t in ENDS for k in range(replicates + 1) if k == 0 or t in finals]
    if whole:
        names = [(trial, k) for trial, k in names if k < replicates]
    val_scores: dict[str, dict[str, float]] = {trial: {} for trial in finals}
    for number, (trial, k) in enumerate(names):
        trial_id = trial + (f"r{k}" if k else "")
        skill, index = SKILL[trial], list(ENDS).index(trial)
        config = TrialConfig.of({**CONFIGS[index], "epochs": 6, "seed": k})
        records.start_trial(trial_id, f"c{index}", config, replicate=k)
        predictions = _probabilities(val, skill, len(classes), seed=100 * index + k)
        score = auroc(val.labels, predictions.astype(np.float64), positive=1)
        epochs = ENDS[trial] if k == 0 and not whole else 6
        rows = _curve(score, epochs)
        records.add_epochs(trial_id, rows)
        status = "completed" if epochs == 6 else "stopped_early"
        records.update_trial(
            trial_id, **summarize(rows, "val_auroc", "max"), status=status, parameters=1000,
            multiply_adds=10**5 * (index + 1) ** 3,
        )  # fmt: skip
        records.timeline[trial_id] = [2.0 * number, 2.0 * number + 2.0 * epochs]
        records.predictions[trial_id] = predictions
        if trial in finals and (k or whole):
            val_scores[trial][trial_id] = score
            scores = [("val", score)]
            if opened:
                on_test = _probabilities(test, skill, len(classes), seed=999 + 100 * index + k)
                records.test_predictions[trial_id] = on_test
                test_score = auroc(test.labels, on_test.astype(np.float64), positive=1)
                scores.append(("test", test_score))
            records.evaluations += [_row(trial_id, split, value) for split, value in scores]
    for name, value in CONTROLS.items():
        records.evaluations += [_row(f"control:{name}", s, value) for s in ("val", "test")]
    records.write()
    write_manifest(folder, _manifest(records, val_scores, opened=opened, whole=whole))


def _row(trial: str, split: str, value: float) -> dict[str, Any]:
    low, high = value - 0.05, value + 0.05
    rest = {"metric": "auroc", "value": value, "low": low, "high": high, "method": "m", "note": ""}
    return {"trial": trial, "split": split, **rest}


def _manifest(
    records: Records, val_scores: dict[str, dict[str, float]], *, opened: bool, whole: bool
) -> dict[str, Any]:
    settings = SearchSettings(
        num_trials=4, max_epochs=6, grace_period=2, finalists="all" if whole else len(val_scores)
    )
    confirmed = [
        {
            "trial": trial, "config_id": trial, "scores": scores,
            "mean": float(np.mean(list(scores.values()))),
            "median": sorted(scores, key=scores.__getitem__)[(len(scores) - 1) // 2],
        }
        for trial, scores in val_scores.items()
    ]  # fmt: skip
    confirmed.sort(key=lambda entry: -entry["mean"])
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
    """Return a function that writes a study and returns its figure data, cached by its options."""
    cache: dict[str, FigureData] = {}

    def build_study(**options: Any) -> FigureData:
        key = repr(sorted(options.items()))
        if key not in cache:
            folder = tmp_path_factory.mktemp("study")
            write_study(folder, **options)
            study, predictions = read_study(folder), read_predictions(folder)
            cache[key] = figure_data_of(study, predictions, derive_conclusions(study, predictions))
        return cache[key]

    return build_study


@pytest.fixture(scope="session")
def figure_data(build: Builder) -> FigureData:
    """Figure data of two finalists under three seeds, with the test set opened."""
    return build()


@pytest.fixture(scope="session")
def plot_figure() -> Callable[[FigureData, str], Figure]:
    """Return a function that plots one figure, which must apply to the study, in the style."""

    def plot(figure_data: FigureData, name: str) -> Figure:
        kind = FIGURES[name]
        assert kind.applies(figure_data)
        with styled(figure_data.characters):
            figure = kind.plot(figure_data)
            figure.draw_without_rendering()
        return figure

    return plot


@pytest.fixture(scope="session")
def by_gid() -> Callable[[Figure, str], Any]:
    """Return a function that returns the first artist of a figure with a given gid."""

    def find(figure: Figure, gid: str) -> Any:
        artists = figure.findobj(lambda artist: artist.get_gid() == gid)
        assert artists, f"no artist has the gid {gid}"
        return artists[0]

    return find
