"""Reference for the other benchmarks: plain Ray Tune as commonly written, without tune_bio.

    python benchmarks/plain_ray_tune.py --data FILE.npz --configs FILE.json --out FILE.json

Nothing is slow on purpose. A trial is a function in a separate process with one CPU; it reads the
npz (MedMNIST's layout), transforms each image in a DataLoader, freezes the backbone by
`requires_grad`, and reports a checkpoint every epoch. SqueezeNet takes its ImageNet weights from
the folder of torch.hub (TORCH_HOME).

`--configs` is a JSON list of objects with `model` (squeezenet1_0 or ann), `epochs`, `lr`, and
optionally `weights`, `freeze` (none or backbone), `batch_size`, `dropout`, `lr_schedule` (constant
or cosine), `width` and `seed`.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
import torch
import torchvision
from ray import tune
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EVALUATION_BATCH = 256
SCORE = "val_accuracy"
Config = dict[str, Any]


class Split(Dataset[tuple[torch.Tensor, int]]):
    """One split of an npz; `transform` is applied on each access to an image."""

    def __init__(
        self,
        images: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64],
        transform: Callable[[npt.NDArray[np.uint8]], torch.Tensor],
    ) -> None:
        self.images = images if images.ndim == 4 else images[..., np.newaxis]
        self.labels = labels.ravel().tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def build_transform(model: str, size: int) -> v2.Compose:
    """Build the transform of one image: resize, normalise; three channels except for `ann`."""
    steps: list[nn.Module] = [v2.ToImage(), v2.Resize((size, size), antialias=True)]
    if model == "ann":
        normalize = v2.Normalize((0.5,), (0.5,))
    else:
        steps.append(v2.RGB())
        normalize = v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)
    return v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), normalize])


def build_model(config: Config, classes: int, pixels: int) -> nn.Module:
    """Build the network of a configuration; `pixels` is the number of values in one image."""
    dropout = config.get("dropout", 0.0)
    if config["model"] == "ann":
        width = config.get("width", 512)
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(pixels, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, classes),
        )
    pretrained = config.get("weights", "none") != "none"
    model = torchvision.models.squeezenet1_0(weights="IMAGENET1K_V1" if pretrained else None)
    if config.get("freeze", "none") == "backbone":
        model.requires_grad_(False)
    model.classifier[0] = nn.Dropout(dropout)
    model.classifier[1] = nn.Conv2d(512, classes, kernel_size=1)
    return model


def train_epoch(
    model: nn.Module, loader: DataLoader[Any], optimizer: torch.optim.Optimizer
) -> list[torch.Tensor]:
    """Train for one pass over the training images; return the loss of each batch."""
    criterion, losses = nn.CrossEntropyLoss(), []
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses


def accuracy(model: nn.Module, loader: DataLoader[Any], images: int) -> float:
    """Return the share of correctly classified images."""
    model.eval()
    with torch.inference_mode():
        right = sum(int((model(x).argmax(dim=1) == y).sum()) for x, y in loader)
    return right / images


def trial(config: Config, data: str, size: int) -> None:
    """Train one configuration: the function trainable."""
    torch.set_num_threads(1)
    torch.manual_seed(config.get("seed", 0))
    with np.load(data) as arrays:
        transform = build_transform(config["model"], size)
        train = Split(arrays["train_images"], arrays["train_labels"], transform)
        val = Split(arrays["val_images"], arrays["val_labels"], transform)
    train_loader = DataLoader(train, batch_size=config.get("batch_size", 32), shuffle=True)
    val_loader = DataLoader(val, batch_size=EVALUATION_BATCH)
    model = build_model(config, 1 + max(train.labels), train[0][0].numel())
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=config["lr"])
    schedule = None
    if config.get("lr_schedule") == "cosine":
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config["epochs"])
    for epoch in range(1, config["epochs"] + 1):
        losses = train_epoch(model, train_loader, optimizer)
        if schedule is not None:
            schedule.step()
        score = accuracy(model, val_loader, len(val))
        with tempfile.TemporaryDirectory() as folder:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, Path(folder) / "checkpoint.pt")
            tune.report(
                {"epoch": epoch, "train_loss": float(torch.stack(losses).mean()), SCORE: score},
                checkpoint=tune.Checkpoint.from_directory(folder),
            )


def search(configs: list[Config], data: Path, size: int, cpus: int) -> list[Config]:
    """Run each configuration; return them with their best validation accuracy and seconds."""
    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False)
    function = partial(_listed, data=str(data.absolute()), size=size)
    with tempfile.TemporaryDirectory() as storage:
        results = tune.Tuner(
            tune.with_resources(function, {"cpu": 1}),
            param_space={"listed": tune.grid_search(configs)},
            tune_config=tune.TuneConfig(metric=SCORE, mode="max"),
            run_config=tune.RunConfig(
                storage_path=storage,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(
                    num_to_keep=1, checkpoint_score_attribute=SCORE
                ),
            ),
        ).fit()
        if results.errors:
            raise results.errors[0]
        return [
            {
                **result.config["listed"],
                SCORE: float(result.metrics_dataframe[SCORE].max()),
                "seconds": float(result.metrics["time_total_s"]),
            }
            for result in results
        ]


def _listed(config: Config, data: str, size: int) -> None:
    trial(config["listed"], data, size)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Listed configurations in plain Ray Tune.")
    parser.add_argument("--data", type=Path, required=True, help="an npz in MedMNIST's layout")
    parser.add_argument("--configs", type=Path, required=True, help="a JSON list of objects")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--cpus", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    began = time.perf_counter()
    arguments = _arguments()
    configs = json.loads(arguments.configs.read_text())
    trials = search(configs, arguments.data, arguments.image_size, arguments.cpus)
    arguments.out.write_text(json.dumps(trials, indent=1))
    best = max(result[SCORE] for result in trials)
    print(f"{len(trials)} trials in {time.perf_counter() - began:.1f} s, best {SCORE} {best:.4f}")


if __name__ == "__main__":
    main()
