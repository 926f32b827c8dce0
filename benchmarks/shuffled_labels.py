"""False alarms of the shuffled-label control: models of shuffled labels that look above chance.

    python benchmarks/shuffled_labels.py --nulls 200

Each null data set is the phantom with its labels shuffled between patients, under a different seed.
A small network is trained on it and tested on its validation images by `permutation_p`. At 0.05 the
test must reject within binomial limits. For comparison, the same predictions are tested in two
wrong ways: with images instead of patients, and at the best epoch instead of the last.
"""

import argparse
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from scipy.stats import binom

from tune_bio.controls import permutation_p, shuffled_labels
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.opening import open_dataset
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.trial_data import TrialData, prepare_data
from tune_bio.models.classifier import Classifier
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training import metrics
from tune_bio.training.fit import fit, predict
from tune_bio.training.state import TrainingState

LEVEL = 0.05
CONFIG = TrialConfig.of({"model": "ann", "width": 32, "image_size": 16, "lr": 1e-3})
RIGHT, BY_IMAGE, BEST = "patients, last epoch", "images, last epoch", "patients, best epoch"


def p_values(
    data: Dataset, prepared: TrialData, epochs: int, seed: int, resamples: int
) -> dict[str, float]:
    """Return the p-value of one null data set for each way of testing."""
    train, val = shuffled_labels(data.train, data.val, seed)
    null = replace(
        prepared,
        train=replace(prepared.train, labels=train.labels),
        val=replace(prepared.val, labels=val.labels),
    )
    config = CONFIG.model_copy(update={"seed": seed, "epochs": epochs})
    state = TrainingState(config, null)
    for _ in fit(config, null, state):
        pass

    def p_value(model: Classifier, patients: np.ndarray) -> float:
        probabilities = predict(model, state.transform, config, null.val.pixels)
        area = partial(metrics.auroc, positive=data.positive)
        return permutation_p(val.labels, probabilities, patients, area, seed, resamples)

    by_way = {RIGHT: p_value(state.model, val.patients), BY_IMAGE: p_value(state.model, val.names)}
    return {**by_way, BEST: p_value(state.with_best_weights(), val.patients)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="False alarms of the shuffled-label control.")
    parser.add_argument("--nulls", type=int, default=200, help="null data sets")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--resamples", type=int, default=39, help="permutations per test")
    parser.add_argument("--quick", action="store_true", help="run a few null data sets only")
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    nulls = 10 if arguments.quick else arguments.nulls
    torch.set_num_threads(1)
    data = open_dataset("phantom")
    prepared = prepare_data(data, Geometry(CONFIG.image_size))
    rejected: Counter[str] = Counter()
    for seed in range(nulls):
        by_way = p_values(data, prepared, arguments.epochs, seed, arguments.resamples)
        rejected.update(way for way, p in by_way.items() if p <= LEVEL)
    low, high = binom.interval(0.95, nulls, LEVEL)
    print(f"{nulls} null data sets, rejected at {LEVEL}; a sound test rejects ", end="")
    print(f"{low:.0f} to {high:.0f} (95 %)\n")
    print("| exchanged, and predictions at | rejected | share |\n| --- | --- | --- |")
    for way in (RIGHT, BY_IMAGE, BEST):
        print(f"| {way} | {rejected[way]} | {rejected[way] / nulls:.3f} |")


if __name__ == "__main__":
    main()
