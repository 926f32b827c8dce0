"""Sheets of images from arrays, and the diagram of a network."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.image_sheets import (
    MOST_CLASSES,
    WrongImage,
    WrongImages,
    most_wrong,
    plot_inputs,
    plot_most_wrong,
)
from tune_bio.analysis.figures.network_diagram import MOST, plot_network
from tune_bio.analysis.figures.style import styled
from tune_bio.models.layer_summary import Layer

THRESHOLD = 0.45  # as in the manifest


def _image(value: float, channels: int = 1) -> Any:
    return np.full((8, 8, channels), value, dtype=np.float32)


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def _check_inside(figure: Figure) -> None:
    figure.draw_without_rendering()
    for axes in figure.axes:
        for artist in (*axes.texts, *axes.images, *axes.patches):
            box = artist.get_window_extent()
            assert box.x0 >= 0, artist
            assert box.y0 >= 0, artist
            assert box.x1 <= figure.bbox.width, artist
            assert box.y1 <= figure.bbox.height, artist


@pytest.mark.parametrize("splits", [("train", "val"), ("train", "val", "test")])
@pytest.mark.parametrize("channels", [1, 3])
def test_inputs_are_arranged_by_class_and_split(splits: tuple[str, ...], channels: int) -> None:
    classes = {"正常": 0.2, "肺炎": 0.8}
    images = {
        name: {split: [_image(value, channels)] * 5 for split in splits}
        for name, value in classes.items()
    }
    with styled("正常肺炎"):
        figure = plot_inputs(images, splits, "8x8 px")
        _check_inside(figure)
    shown = figure.axes[0].images
    assert len(shown) == 2 * 3 * len(splits)
    values = [float(np.asarray(image.get_array()).mean()) for image in shown]
    assert sorted(values) == pytest.approx(sorted([0.2, 0.8] * 3 * len(splits)))
    rows = {round(image.get_extent()[3], 3) for image in shown}
    assert len(rows) == 2, "one row per class"
    texts = _texts(figure)
    assert {"Training", "Validation", "class 正常", "class 肺炎", "8x8 px"} <= set(texts)
    assert ("Test" in texts) == ("test" in splits)


def test_only_the_first_of_many_classes_are_shown_with_a_note() -> None:
    images = {f"c{k}": {"train": [_image(0.5)]} for k in range(20)}
    with styled():
        figure = plot_inputs(images, ("train",), "")
        _check_inside(figure)
    assert len(figure.axes[0].images) == MOST_CLASSES
    assert f"{MOST_CLASSES} of 20 classes shown" in _texts(figure)


def test_the_most_confident_errors_come_first_one_per_patient(figure_data: FigureData) -> None:
    errors = most_wrong(figure_data, "val", most=4)
    rows = figure_data.rows(figure_data.winner, "val")
    p = figure_data.probabilities(rows)[:, 1]
    labels = rows["label"].to_numpy()
    wrong = (p >= THRESHOLD) != labels
    assert errors.wrong == wrong.sum() > 4
    assert errors.images == len(rows)
    of_true_class = dict(zip(rows["image"], np.where(labels == 1, p, 1 - p), strict=True))
    shown = [of_true_class[image.name] for image in errors.shown]
    assert shown == sorted(shown)
    assert shown[0] == min(of_true_class[name] for name in rows["image"][wrong])
    assert len({image.patient for image in errors.shown}) == 4
    for image in errors.shown:
        assert image.true != image.predicted
        assert image.probability == pytest.approx(1 - of_true_class[image.name])


def test_no_errors_on_a_sealed_test_set_are_shown(build: Callable[..., FigureData]) -> None:
    assert most_wrong(build(opened=False), "test") == WrongImages((), 0, 0)


def test_an_error_is_shown_with_name_patient_classes_and_probability() -> None:
    long = "a/very/long/folder/of/images/图像_1.png"
    image = WrongImage(long, "病人-7", "正常", "肺炎", 0.987)
    errors = {"val": WrongImages((image,), wrong=9, images=50), "test": WrongImages((), 0, 10)}
    with styled("图像病人正常肺炎"):
        figure = plot_most_wrong(errors, {long: _image(0.5)})
        _check_inside(figure)
    texts = _texts(figure)
    assert "Validation: 9 of 50 misclassified; surest first, one per patient" in texts
    assert any(text.endswith("图像_1.png") and text.startswith("...") for text in texts)
    assert {"patient 病人-7", "true: 正常", "pred.: 肺炎 0.99"} <= set(texts)
    assert not any("Test" in text for text in texts)


def test_a_patient_with_the_name_of_the_image_is_not_repeated() -> None:
    image = WrongImage("i1", "i1", "a", "b", 0.6)
    with styled():
        figure = plot_most_wrong({"val": WrongImages((image,), 1, 2)}, {"i1": _image(0)})
    assert not any("patient i1" in text for text in _texts(figure))


def test_a_network_has_one_box_per_layer_with_shape_and_parameters() -> None:
    layers = [
        Layer("Input", "input", (1, 8, 8), 0),
        Layer("Convolution 3x3, ReLU", "convolution", (16, 8, 8), 160),
        Layer("Linear", "linear", (2,), 2050),
    ]
    with styled():
        figure = plot_network("cnn", layers, "2,210 parameters")
        _check_inside(figure)
    texts = _texts(figure)
    assert {"cnn: 2,210 parameters", "16 x 8 x 8", "160", "2,050", "Linear"} <= set(texts)
    boxes = [patch for patch in figure.axes[0].patches if hasattr(patch, "get_width")]
    assert len(boxes) == 3


def test_the_middle_of_a_very_deep_network_is_left_out() -> None:
    layers = [Layer(f"Linear {k}", "linear", (64,), 10) for k in range(70)]
    with styled():
        figure = plot_network("ann", layers, "")
        _check_inside(figure)
    texts = _texts(figure)
    assert {"Linear 0", "Linear 69", f"... {70 - MOST + 1} more layers ..."} <= set(texts)
    assert sum(text.startswith("Linear") for text in texts) == MOST - 1
