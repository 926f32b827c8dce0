"""How hard is the phantom? Test AUROC of four classifiers, over three seeds.

    python benchmarks/phantom_targets.py

The targets: logistic regression on pixels between 0.60 and 0.80; a small CNN at least 0.08 above
it; pretrained fine-tuning at least as good as frozen features; nothing above 0.98. Every seed
draws other patients and other initial weights.
"""

import argparse

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tune_bio.config import TrialConfig
from tune_bio.datasets import Dataset, Images, phantom_dataset
from tune_bio.datasets.transforms import prepare
from tune_bio.metrics import auroc
from tune_bio.models.pretrained import load_backbone, resolve
from tune_bio.training import Tensors, TrainingState, fit, predict

LITE = "timm:tf_efficientnet_lite0"
PRETRAINED = {"model": LITE, "weights": "imagenet"}
NETWORKS: dict[str, dict[str, object]] = {
    "small CNN": {"model": "cnn", "dropout": 0.0, "lr": 1e-3, "epochs": 30},
    "frozen": {**PRETRAINED, "freeze": "backbone", "lr": 3e-3, "epochs": 20},
    "fine-tuned": {
        **PRETRAINED, "lr": 1e-3, "lr_schedule": "cosine", "label_smoothing": 0.1, "epochs": 10
    },
}  # fmt: skip


def logistic_regression(data: Dataset) -> float:
    """Test AUROC of logistic regression on pixels, its strength of L2 chosen on validation."""

    def score(model: Pipeline, split: Images) -> float:
        probabilities = model.predict_proba(split.pixels.reshape(len(split), -1))
        return auroc(split.labels, probabilities, data.positive)

    pixels = data.train.pixels.reshape(len(data.train), -1)
    models = [
        make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000)).fit(
            pixels, data.train.labels
        )
        for c in np.logspace(-6, -1, 6)
    ]
    return score(max(models, key=lambda model: score(model, data.val)), data.test)


def network(data: Dataset, params: dict[str, object], seed: int, backbone: Tensors) -> float:
    """Test AUROC of the best validation epoch."""
    config = TrialConfig.of({**params, "seed": seed})
    prepared = prepare(data, config.image_size)
    pretrained = backbone if config.weights != "none" else None
    state = TrainingState(config, prepared, backbone=pretrained)
    for _ in fit(config, prepared, state):
        pass
    pixels = state.transform.resize(data.test.pixels)
    model = state.with_best_weights()
    probabilities = predict(model, state.transform, config, pixels)
    return auroc(data.test.labels, probabilities, data.positive)


def main() -> None:
    parser = argparse.ArgumentParser(description="Test AUROC of four classifiers on the phantom.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    file = resolve([(LITE, "imagenet")], None).found[LITE, "imagenet"]
    arrays = load_backbone(LITE, file)
    backbone = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    names = ["logistic regression", *NETWORKS]
    print("| seed | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for seed in seeds:
        data = phantom_dataset(seed)
        row = [logistic_regression(data)]
        row += [network(data, params, seed, backbone) for params in NETWORKS.values()]
        print(f"| {seed} | " + " | ".join(f"{value:.3f}" for value in row) + " |", flush=True)


if __name__ == "__main__":
    main()
