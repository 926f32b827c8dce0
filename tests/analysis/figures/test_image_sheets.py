"""Sheets of images, from arrays; and the diagram of a network."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.image_sheets import (
    MOST_CLASSES,
    Wrong,
    WrongOnes,
    most_wrong,
    plot_inputs,
    plot_most_wrong,
)
from tune_bio.analysis.figures.network_diagram import MOST, plot_network
from tune_bio.analysis.figures.style import styled
from tune_bio.models.layer_summary import Layer

THRESHOLD = 0.45  # of the manifest


def _image(value: float, channels: int = 1) -> Any:
    return np.full((8, 8, channels), value, dtype=np.float32)


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def _inside(figure: Figure) -> None:
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
def test_inputs_stand_by_class_and_split(splits: tuple[str, ...], channels: int) -> None:
    classes = {"正常": 0.2, "肺炎": 0.8}
    images = {
        name: {split: [_image(value, channels)] * 5 for split in splits}
        for name, value in classes.items()
    }
    with styled("正常肺炎"):
        figure = plot_inputs(images, splits, "8x8 px")
        _inside(figure)
    shown = figure.axes[0].images
    assert len(shown) == 2 * 3 * len(splits)
    values = [float(np.asarray(image.get_array()).mean()) for image in shown]
    assert sorted(values) == pytest.approx(sorted([0.2, 0.8] * 3 * len(splits)))
    rows = {round(image.get_extent()[3], 3) for image in shown}
    assert len(rows) == 2, "a line a class"
    told = _texts(figure)
    assert {"Training", "Validation", "class 正常", "class 肺炎", "8x8 px"} <= set(told)
    assert ("Test" in told) == ("test" in splits)


def test_of_many_classes_the_first_are_shown_and_the_rest_is_said() -> None:
    images = {f"c{k}": {"train": [_image(0.5)]} for k in range(20)}
    with styled():
        figure = plot_inputs(images, ("train",), "")
        _inside(figure)
    assert len(figure.axes[0].images) == MOST_CLASSES
    assert f"{MOST_CLASSES} of 20 classes" in _texts(figure)


def test_the_surest_of_the_wrong_ones_come_first_one_a_patient(material: FigureData) -> None:
    found = most_wrong(material, "val", most=4)
    rows = material.rows(material.winner, "val")
    p = material.probabilities(rows)[:, 1]
    labels = rows["label"].to_numpy()
    wrong = (p >= THRESHOLD) != labels
    assert found.wrong == wrong.sum() > 4
    assert found.images == len(rows)
    of_truth = dict(zip(rows["image"], np.where(labels == 1, p, 1 - p), strict=True))
    shown = [of_truth[one.name] for one in found.shown]
    assert shown == sorted(shown)
    assert shown[0] == min(of_truth[name] for name in rows["image"][wrong])
    assert len({one.patient for one in found.shown}) == 4
    for one in found.shown:
        assert one.true != one.called
        assert one.share == pytest.approx(1 - of_truth[one.name])


def test_of_a_sealed_test_set_nothing_is_told(build: Callable[..., FigureData]) -> None:
    assert most_wrong(build(opened=False), "test") == WrongOnes((), 0, 0)


def test_a_wrong_image_is_shown_with_name_patient_classes_and_probability() -> None:
    long = "a/very/long/folder/of/images/图像_1.png"
    ones = WrongOnes((Wrong(long, "病人-7", "正常", "肺炎", 0.987),), wrong=9, images=50)
    with styled("图像病人正常肺炎"):
        figure = plot_most_wrong({"val": ones, "test": WrongOnes((), 0, 10)}, {long: _image(0.5)})
        _inside(figure)
    told = _texts(figure)
    assert "Validation: 9 of 50 images are wrong; the surest, one a patient" in told
    assert any(text.endswith("图像_1.png") and text.startswith("...") for text in told)
    assert {"patient 病人-7", "is 正常", "called 肺炎 0.99"} <= set(told)
    assert not any("Test" in text for text in told)


def test_a_patient_of_the_image_s_own_name_is_not_told_twice() -> None:
    one = Wrong("i1", "i1", "a", "b", 0.6)
    with styled():
        figure = plot_most_wrong({"val": WrongOnes((one,), 1, 2)}, {"i1": _image(0)})
    assert not any("patient i1" in text for text in _texts(figure))


def test_a_network_is_a_box_a_step_with_its_shape_and_parameters() -> None:
    steps = [
        Layer("Input", "input", (1, 8, 8), 0),
        Layer("Convolution 3x3, ReLU", "convolution", (16, 8, 8), 160),
        Layer("Linear", "linear", (2,), 2050),
    ]
    with styled():
        figure = plot_network("cnn", steps, "2,210 parameters")
        _inside(figure)
    told = _texts(figure)
    assert {"cnn: 2,210 parameters", "16 x 8 x 8", "160", "2,050", "Linear"} <= set(told)
    boxes = [patch for patch in figure.axes[0].patches if hasattr(patch, "get_width")]
    assert len(boxes) == 3


def test_a_very_deep_network_leaves_out_its_middle() -> None:
    steps = [Layer(f"Linear {k}", "linear", (64,), 10) for k in range(70)]
    with styled():
        figure = plot_network("ann", steps, "")
        _inside(figure)
    told = _texts(figure)
    assert {"Linear 0", "Linear 69", f"... {70 - MOST + 1} more ..."} <= set(told)
    assert sum(text.startswith("Linear") for text in told) == MOST - 1
