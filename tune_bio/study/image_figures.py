"""Figures that need more than the records: sheets of images, and a diagram of a small network.

Test images are read only after the test set has been opened.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from tune_bio.analysis.figures.draw_all import render_figures
from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.image_sheets import (
    IMAGES_PER_SPLIT,
    MOST_CLASSES,
    DisplayImage,
    most_wrong,
    plot_inputs,
    plot_most_wrong,
)
from tune_bio.analysis.figures.network_diagram import plot_network
from tune_bio.common.seeding import generator
from tune_bio.datasets.images import Dataset, Images
from tune_bio.datasets.transforms.augmentation import build_augmentation
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.transforms.transform import Transform
from tune_bio.models.build import input_transform
from tune_bio.models.cost import cost
from tune_bio.models.layer_summary import layer_summary
from tune_bio.records.schema import Row
from tune_bio.records.tables import config_of_row
from tune_bio.space.trial_config import TrialConfig

Plots = dict[str, Callable[[], Figure]]


def save_image_figures(dataset: Dataset, data: FigureData, best: Row, folder: Path) -> list[Path]:
    """Draw `inputs`, `most_wrong` and, for a small network, `network`; return the PNG files.

    Args:
        dataset: the study's images.
        data: the study's records.
        best: the row of the trial in `best/`, whose transform and predictions are shown.
        folder: the folder of the figures.

    Raises:
        DataError: an image no longer exists.
    """
    config = config_of_row(best)
    transform = input_transform(config, dataset.pixel_format(Geometry.of(config)))
    splits = {name: dataset.splits[name] for name in ("train", *data.splits)}
    plots: Plots = {"inputs": partial(_inputs, splits, dataset.classes, transform, config)}
    errors = {split: most_wrong(data, split) for split in data.splits}
    names = {split: [image.name for image in wrong.shown] for split, wrong in errors.items()}
    if any(names.values()):
        images = _images_by_name(splits, names, transform, config)
        plots["most_wrong"] = lambda: plot_most_wrong(errors, images)
    plots |= _network(config, dataset)
    texts = [*dataset.classes, *(name for split in names.values() for name in split)]
    texts += [image.patient for wrong in errors.values() for image in wrong.shown]
    return render_figures(data.study, folder, plots, set("".join(texts)))


def as_seen(
    images: Images, transform: Transform, config: TrialConfig, *, training: bool = False
) -> list[DisplayImage]:
    """Return the images as a network gets them, (S, S, channels), from 0 (black) to 1 (white).

    With `training`, they are augmented as the configuration says, by draws from its seed.
    """
    if not len(images):
        return []
    inputs = transform.scale(torch.from_numpy(np.array(images.at(transform.geometry))))
    if training:
        draws = generator(config.seed, "augment", epoch=1)
        inputs = build_augmentation(config.augment)(inputs, draws)
    inputs = transform.standardize(inputs)
    mean, std = (
        torch.tensor(numbers).view(-1, 1, 1) for numbers in (transform.mean, transform.std)
    )
    return list((inputs * std + mean).permute(0, 2, 3, 1).numpy())


def _inputs(
    splits: Mapping[str, Images],
    classes: Sequence[str],
    transform: Transform,
    config: TrialConfig,
) -> Figure:
    """Plot the first images of each class and split, one per patient."""
    count = IMAGES_PER_SPLIT[len(splits)]
    inputs = {
        name: {
            split: as_seen(
                images.take(_first(images, index, count)),
                transform,
                config,
                training=split == "train",
            )
            for split, images in splits.items()
        }
        for index, name in enumerate(classes[:MOST_CLASSES])
    }
    inputs |= {name: {} for name in classes[MOST_CLASSES:]}
    return plot_inputs(inputs, list(splits), _caption(transform, config.augment))


def _first(images: Images, label: int, count: int) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    """Return the positions of the first images of a class, one per patient."""
    positions = np.flatnonzero(images.labels == label)
    _, first = np.unique(images.patients[positions], return_index=True)
    return positions[np.sort(first)[:count]]


def _caption(transform: Transform, augment: str) -> str:
    """Describe how the images were transformed."""
    geometry, side = transform.geometry, transform.geometry.image_size
    steps = [f"resized to {geometry.resize}"] if geometry.resize else []
    steps += [f"centre crop {geometry.crop}"] if geometry.crop else []
    colour = "grey" if transform.channels == 1 else "3 channels"
    ends = [
        (value - mean) / std
        for value in (0, 1)
        for mean, std in zip(transform.mean, transform.std, strict=True)
    ]
    scale = f"black to white: {min(ends):.3g} to {max(ends):.3g}"
    augmented = [f"training augmented: {augment}"] if augment != "none" else []
    return ", ".join([*steps, f"{side}x{side} px", colour, scale, *augmented])


def _images_by_name(
    splits: Mapping[str, Images],
    names_by_split: Mapping[str, Sequence[str]],
    transform: Transform,
    config: TrialConfig,
) -> dict[str, DisplayImage]:
    display_images: dict[str, DisplayImage] = {}
    for split, names in names_by_split.items():
        images = splits[split]
        selected = images.take(np.flatnonzero(np.isin(images.names, list(names))))
        display_images.update(
            zip(selected.names.tolist(), as_seen(selected, transform, config), strict=True)
        )
    return display_images


def _network(config: TrialConfig, dataset: Dataset) -> Plots:
    """Return the plot of the best trial's network if it is a small model."""
    steps = layer_summary(config, len(dataset.classes), dataset.channels)
    if not steps:
        return {}
    counts = cost(config, len(dataset.classes), dataset.channels)
    caption = (
        f"{counts.parameters:,} parameters, {counts.multiply_adds / 1e6:.3g} million "
        "multiply-adds per image"
    )
    return {"network": partial(plot_network, config.model, steps, caption)}
