"""Gain from ImageNet weights: the same configurations with and without them, for three seeds.

    python benchmarks/pretrained_pays.py --data DIR_OR_NPZ --results /tmp/pretrained_pays

Only `weights` differs, and no trial is stopped early.
"""

import argparse
import json
import sys
from pathlib import Path

from tune_bio.records.tables import read_trials
from tune_bio.search import main as search

SPACE = Path(__file__).parents[1] / "search_spaces" / "transfer.py"
COMMON = {"lr": 3e-4, "dropout": 0.2, "image_size": 64, "lr_schedule": "cosine"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="phantom")
    parser.add_argument("--model", default="timm:tf_efficientnet_lite0")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument(
        "--results", type=Path, required=True, help="the results folder, created if necessary"
    )
    options = parser.parse_args()
    configs = [
        {**COMMON, "model": options.model, "weights": weights, "seed": seed}
        for seed in range(3)
        for weights in ("none", "imagenet")
    ]
    options.results.mkdir(parents=True, exist_ok=True)
    listed = options.results / "configs.json"
    listed.write_text(json.dumps(configs))
    status = search(
        [
            str(SPACE), "--data", options.data, "--configs", str(listed), "--scheduler", "none",
            "--max-epochs", str(options.epochs), "--missing-weights", "error",
            "--results", str(options.results), "--name", "pretrained_pays",
        ]
    )  # fmt: skip
    if status:
        sys.exit(status)
    trials = read_trials(options.results / "pretrained_pays")
    table = trials.pivot_table(index="seed", columns="params.weights", values="best_val_auroc")
    print(table[["none", "imagenet"]].round(4).to_string())
    print("imagenet is better in", (table["imagenet"] > table["none"]).sum(), "of", len(table))


if __name__ == "__main__":
    main()
