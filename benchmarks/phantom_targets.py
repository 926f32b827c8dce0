"""Difficulty of the phantom: validation and test AUROC of classifiers, for several seeds.

    python benchmarks/phantom_targets.py [--classes 6] [--shortcut]

Targets on test: logistic regression on pixels between 0.60 and 0.80; a small CNN at least 0.08
above it; pretrained fine-tuning at least as good as frozen features; nothing above 0.98. With more
classes (macro one-vs-rest): logistic regression clearly above chance and clearly below a small CNN
(with a dense head it may memorise the images first; global pooling prevents that). With the
shortcut: above 0.9 on validation, and at least 0.1 less on test. Each seed draws different patients
and different initial weights. The pretrained networks run on the plain phantom only.
"""

import argparse

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tune_bio.datasets.images import Dataset, Images
from tune_bio.datasets.opening import split_collection
from tune_bio.datasets.phantom.source import read_phantom
from tune_bio.datasets.sources.collection import OpenOptions
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.trial_data import prepare_data
from tune_bio.models.weights.pretrained import load_backbone
from tune_bio.models.weights.published import resolve
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.fit import fit, predict
from tune_bio.training.metrics import auroc
from tune_bio.training.state import Tensors, TrainingState

Scores = tuple[float, float]  # AUROC on validation and on test
SIZE = Geometry(64)
LITE = "timm:tf_efficientnet_lite0"
PRETRAINED = {"model": LITE, "weights": "imagenet"}
SMALL: dict[str, dict[str, object]] = {
    "small CNN": {"model": "cnn", "dropout": 0.0, "lr": 1e-3, "epochs": 30}
}
POOLED: dict[str, dict[str, object]] = {
    "small CNN, pooled": {"model": "cnn_gap", "dropout": 0.0, "lr": 3e-3, "epochs": 30}
}
LARGE: dict[str, dict[str, object]] = {
    "frozen": {**PRETRAINED, "freeze": "backbone", "lr": 3e-3, "epochs": 20},
    "fine-tuned": {
        **PRETRAINED, "lr": 1e-3, "lr_schedule": "cosine", "label_smoothing": 0.1, "epochs": 10
    },
}  # fmt: skip


def logistic_regression(data: Dataset) -> Scores:
    """Score logistic regression on pixels, with the strength of L2 chosen on validation."""

    def score(model: Pipeline, split: Images) -> float:
        return auroc(split.labels, model.predict_proba(_flat(split)), data.positive)

    pixels = _flat(data.train)
    models = [
        make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000)).fit(
            pixels, data.train.labels
        )
        for c in np.logspace(-6, -1, 6)
    ]
    best = max(models, key=lambda model: score(model, data.val))
    return score(best, data.val), score(best, data.test)


def network(
    data: Dataset, params: dict[str, object], seed: int, backbone: Tensors | None
) -> Scores:
    """Score a network, with the best epoch chosen on validation."""
    config = TrialConfig.of({**params, "seed": seed})
    prepared = prepare_data(data, SIZE)
    state = TrainingState(config, prepared, backbone=backbone)
    for _ in fit(config, prepared, state):
        pass
    assert state.best is not None
    model = state.with_best_weights()
    probabilities = predict(model, state.transform, config, data.test.at(SIZE))
    return state.best.value, auroc(data.test.labels, probabilities, data.positive)


def _flat(split: Images) -> np.ndarray:
    return split.at(SIZE).reshape(len(split), -1)


def _backbone() -> Tensors:
    arrays = load_backbone(LITE, resolve([(LITE, "imagenet")], None).files[LITE, "imagenet"])
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="AUROC of several classifiers on the phantom.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--classes", type=int, help="number of classes, from 2 to 12")
    kind.add_argument(
        "--shortcut", action="store_true", help="add a marker that is absent from test"
    )
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    variant = "shortcut" if arguments.shortcut else arguments.classes
    source = f"phantom:{variant}" if variant else "phantom"
    networks = SMALL | (POOLED if arguments.classes else {} if variant else LARGE)
    backbone = None if variant else _backbone()
    names = ["logistic regression", *networks]
    print(f"{source}, validation / test")
    print("| seed | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for seed in arguments.seeds:
        data = split_collection(read_phantom(source, OpenOptions(), seed), seed, None)
        row = [logistic_regression(data)]
        for params in networks.values():
            weights = backbone if "weights" in params else None
            row.append(network(data, params, seed, weights))
        cells = " | ".join(f"{val:.3f} / {test:.3f}" for val, test in row)
        print(f"| {seed} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
