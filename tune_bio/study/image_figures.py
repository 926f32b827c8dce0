"""Figures that need more than the records: sheets of images, and a diagram of a small network.

Images of the test split are looked at only once it has been opened.
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

Drawn = dict[str, Callable[[], Figure]]


def save_image_figures(
    dataset: Dataset, material: FigureData, best: Row, folder: Path
) -> list[Path]:
    """Draw `inputs`, `most_wrong` and, for a small network, `network`; returns the PNG files.

    Args:
        dataset: the study's.
        material: its records.
        best: the row of the trial in `best/`, whose transform and predictions are shown.
        folder: of the figures.

    Raises:
        DataError: images that are not there any more.
    """
    config = config_of_row(best)
    transform = input_transform(config, dataset.pixel_format(Geometry.of(config)))
    splits = {name: dataset.splits[name] for name in ("train", *material.splits)}
    drawn: Drawn = {"inputs": partial(_inputs, splits, dataset.classes, transform, config)}
    wrong = {split: most_wrong(material, split) for split in material.splits}
    named = {split: [one.name for one in ones.shown] for split, ones in wrong.items()}
    if any(named.values()):
        shown = _by_name(splits, named, transform, config)
        drawn["most_wrong"] = lambda: plot_most_wrong(wrong, shown)
    drawn |= _network(config, dataset)
    texts = [*dataset.classes, *(name for names in named.values() for name in names)]
    texts += [one.patient for ones in wrong.values() for one in ones.shown]
    return render_figures(material.study, folder, drawn, set("".join(texts)))


def as_seen(
    images: Images, transform: Transform, config: TrialConfig, *, training: bool = False
) -> list[DisplayImage]:
    """The input of a network, (S, S, channels) each, but from 0 (black) to 1 (white).

    In training with the configuration's augmentation, by draws of its seed.
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
    """Of each class and split the first images of as many patients."""
    each = IMAGES_PER_SPLIT[len(splits)]
    found = {
        name: {
            split: as_seen(
                images.take(_first(images, index, each)),
                transform,
                config,
                training=split == "train",
            )
            for split, images in splits.items()
        }
        for index, name in enumerate(classes[:MOST_CLASSES])
    }
    found |= {name: {} for name in classes[MOST_CLASSES:]}
    return plot_inputs(found, list(splits), _caption(transform, config.augment))


def _first(images: Images, label: int, count: int) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    """Positions of one image each of the first patients of a class."""
    where = np.flatnonzero(images.labels == label)
    _, first = np.unique(images.patients[where], return_index=True)
    return where[np.sort(first)[:count]]


def _caption(transform: Transform, augment: str) -> str:
    """What was done to the images."""
    geometry, side = transform.geometry, transform.geometry.image_size
    steps = [f"resized to {geometry.resize}"] if geometry.resize else []
    steps += [f"middle {geometry.crop}"] if geometry.crop else []
    colour = "grey" if transform.channels == 1 else "3 channels"
    ends = [
        (value - mean) / std
        for value in (0, 1)
        for mean, std in zip(transform.mean, transform.std, strict=True)
    ]
    scale = f"black to white: {min(ends):.3g} to {max(ends):.3g}"
    varied = [f"training augmented: {augment}"] if augment != "none" else []
    return ", ".join([*steps, f"{side}x{side} px", colour, scale, *varied])


def _by_name(
    splits: Mapping[str, Images],
    named: Mapping[str, Sequence[str]],
    transform: Transform,
    config: TrialConfig,
) -> dict[str, DisplayImage]:
    found: dict[str, DisplayImage] = {}
    for split, names in named.items():
        images = splits[split]
        chosen = images.take(np.flatnonzero(np.isin(images.names, list(names))))
        found.update(zip(chosen.names.tolist(), as_seen(chosen, transform, config), strict=True))
    return found


def _network(config: TrialConfig, dataset: Dataset) -> Drawn:
    """The best trial's network where it is one of the small ones."""
    steps = layer_summary(config, len(dataset.classes), dataset.channels)
    if not steps:
        return {}
    counted = cost(config, len(dataset.classes), dataset.channels)
    told = (
        f"{counted.parameters:,} parameters, {counted.multiply_adds / 1e6:.3g} million "
        "multiply-adds an image"
    )
    return {"network": partial(plot_network, config.model, steps, told)}
