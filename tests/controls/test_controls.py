"""The controls detect planted cues, and nothing where there is no cue."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.dummy import DummyClassifier
from sklearn.metrics import roc_auc_score

from tests.data_factory import as_images, few_examples
from tune_bio.controls import CONTROLS, Control, best_pixel, flags, run_controls, views
from tune_bio.datasets.images import Dataset, Images
from tune_bio.datasets.opening import open_dataset
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.training import metrics


def controls_of(data: Dataset, geometry: Geometry | None = None) -> dict[str, Control]:
    controls = run_controls(
        data.train,
        data.val,
        classes=data.classes,
        positive=data.positive,
        seed=0,
        geometry=geometry,
    )
    return {control.name: control for control in controls}


def noise(
    n: int, side: int, *, channels: int = 1, dtype: Any = np.uint8, classes: int = 2, seed: int = 0
) -> Images:
    """Return images that are unrelated to their labels."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, np.iinfo(dtype).max + 1, (n, side, side, channels)).astype(dtype)
    names = np.array([f"{seed}-{i}" for i in range(n)])
    return as_images(pixels, np.arange(n) % classes, names, names)


def controls_of_splits(train: Images, val: Images, classes: int = 2) -> dict[str, Control]:
    names = [f"class{k}" for k in range(classes)]
    controls = run_controls(train, val, classes=names, positive=classes - 1, seed=0)
    return {control.name: control for control in controls}


def with_pixels(images: Images, pixels: Any) -> Images:
    return as_images(pixels, images.labels, images.patients, images.names)


def pixels_of(images: Images) -> Any:
    return np.stack(list(images.originals()))


@pytest.fixture(scope="module")
def plain() -> dict[str, Control]:
    return controls_of(open_dataset("phantom"))


@pytest.fixture(scope="module")
def shortcut() -> dict[str, Control]:
    return controls_of(open_dataset("phantom:shortcut"))


def test_the_border_control_detects_a_marker_in_a_corner(shortcut: dict[str, Control]) -> None:
    border = shortcut["border"].metrics["auroc"]
    assert border > 0.9
    flag = flags.control_near_model("border", border, 0.95)
    assert flag is not None
    assert flag.kind == "control_near_model"
    assert "border" in flag.message


def test_the_border_of_the_plain_phantom_raises_no_flag(plain: dict[str, Control]) -> None:
    border = plain["border"].metrics["auroc"]
    assert border < 0.65
    assert flags.control_near_model("border", border, 0.87) is None


def test_a_control_that_learnt_the_marker_fails_on_test(shortcut: dict[str, Control]) -> None:
    data = open_dataset("phantom:shortcut")
    probabilities = shortcut["border"].predict(data.test)
    assert metrics.auroc(data.test.labels, probabilities, data.positive) < 0.65


def test_every_control_is_returned_with_its_scores(plain: dict[str, Control]) -> None:
    data = open_dataset("phantom")
    assert list(plain) == list(CONTROLS)
    for control in plain.values():
        assert control.probabilities.shape == (len(data.val), 2)
        np.testing.assert_allclose(control.probabilities.sum(axis=1), 1)
        expected = metrics.compute_metrics(data.val.labels, control.probabilities, data.positive)
        assert control.metrics == expected
        np.testing.assert_array_equal(control.predict(data.val), control.probabilities)
        assert control.looks_at.endswith(".")
        assert "\n" not in control.looks_at
    assert 0.6 < plain["pixels"].metrics["auroc"] < 0.8  # by construction of the phantom


def test_a_control_can_be_pickled(plain: dict[str, Control]) -> None:
    data = open_dataset("phantom")
    for control in plain.values():
        unpickled = pickle.loads(pickle.dumps(control.predict))
        np.testing.assert_array_equal(unpickled(data.val), control.probabilities)


def test_equal_arguments_give_equal_controls(plain: dict[str, Control]) -> None:
    again = controls_of(open_dataset("phantom"))
    for name, control in plain.items():
        np.testing.assert_array_equal(again[name].probabilities, control.probabilities)
        assert again[name].looks_at == control.looks_at


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.1, 0.9), (0.2, 0.3, 0.5)])
def test_the_majority_control_equals_scikit_learn(shares: tuple[float, ...]) -> None:
    k, rng = len(shares), np.random.default_rng(0)
    splits = []
    for seed, n in enumerate((60, 30)):
        images = noise(n, 8, classes=k, seed=seed)
        images.labels[k:] = rng.choice(k, n - k, p=shares)
        splits.append(images)
    train, val = splits
    majority = controls_of_splits(train, val, k)["majority"]
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((60, 1)), train.labels)
    np.testing.assert_array_equal(majority.probabilities, dummy.predict_proba(np.zeros((30, 1))))
    assert majority.metrics["auroc"] == 0.5
    assert majority.metrics["accuracy"] == np.mean(val.labels == np.bincount(train.labels).argmax())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("classes", [2, 4])
def test_a_label_planted_in_one_pixel_is_found(channels: int, dtype: Any, classes: int) -> None:
    def plant(images: Images) -> Images:
        pixels = pixels_of(images)
        pixels[:, 5, 17, channels - 1] = 40 + 20 * images.labels
        return with_pixels(images, pixels)

    options = {"channels": channels, "dtype": dtype, "classes": classes}
    controls = controls_of_splits(
        plant(noise(120, 24, seed=0, **options)),
        plant(noise(60, 24, seed=1, **options)),
        classes,
    )
    best = controls["best_pixel"]
    assert best.predict.view == views.OnePixel(5, 17, channels - 1)  # type: ignore[attr-defined]
    assert f"row 5, column 17, channel {channels - 1}" in best.looks_at
    assert best.metrics["auroc"] == 1
    assert best.metrics["accuracy"] == 1
    assert flags.control_near_model("best_pixel", best.metrics["auroc"], 0.99) is not None
    # The other controls do not see the pixel; a flag of theirs would be chance.
    assert controls["border"].metrics["auroc"] < 0.8


def test_no_pixel_of_noise_is_flagged() -> None:
    best = controls_of_splits(noise(300, 24, seed=0), noise(300, 24, seed=1))["best_pixel"]
    assert flags.control_near_model("best_pixel", best.metrics["auroc"], 0.7) is None


@few_examples
@given(
    st.integers(2, 4), st.integers(8, 60), st.sampled_from([2, 5, 256]), st.integers(0, 2**32 - 1)
)
def test_separation_is_the_auroc_of_every_column(k: int, n: int, values: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, values, (n, 7)).astype(np.uint8)
    labels = rng.permutation(np.arange(n) % k)
    expected = []
    for column in table.T:
        pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
        areas = [
            roc_auc_score(labels[np.isin(labels, pair)] == pair[1], column[np.isin(labels, pair)])
            for pair in pairs
        ]
        expected.append(np.mean([max(area, 1 - area) for area in areas]))
    np.testing.assert_allclose(best_pixel.best_separation(table, labels), expected)
    # 16 bits: the same values, farther apart; with so few images no quantile merges two of them.
    np.testing.assert_allclose(
        best_pixel.best_separation(table.astype(np.uint16) * 257, labels), expected
    )


def test_a_pixel_that_is_darker_in_the_positive_class_is_found_too() -> None:
    train, val = noise(100, 12, seed=0), noise(50, 12, seed=1)
    splits = []
    for images in (train, val):
        pixels = pixels_of(images)
        pixels[:, 3, 4, 0] = 200 - 100 * images.labels  # darker if positive
        splits.append(with_pixels(images, pixels))
    best = controls_of_splits(*splits)["best_pixel"]
    assert best.predict.view == views.OnePixel(3, 4, 0)  # type: ignore[attr-defined]
    assert best.metrics["auroc"] == 1


@pytest.mark.parametrize("side", [64, 224, 50])
def test_a_thin_line_at_the_edge_is_seen_at_full_resolution(side: int) -> None:
    """The line is one pixel wide and hardly changes the means; the extremes show it."""
    splits = []
    for seed, n in enumerate((80, 40)):
        images = noise(n, side, seed=seed)
        pixels = pixels_of(images) // 4 + 60
        pixels[images.labels == 1, 1, side // 2 - 2 : side // 2 + 2] = 255
        splits.append(with_pixels(images, pixels))
    assert controls_of_splits(*splits)["border"].metrics["auroc"] > 0.95


def test_the_border_control_does_not_see_the_middle() -> None:
    splits = []
    for seed, n in enumerate((200, 200)):
        images = noise(n, 32, seed=seed)
        pixels = pixels_of(images)
        pixels[images.labels == 1, 4:-4, 4:-4] //= 2
        splits.append(with_pixels(images, pixels))
    controls = controls_of_splits(*splits)
    assert controls["pixels"].metrics["auroc"] > 0.95
    assert controls["border"].metrics["auroc"] < 0.65


@pytest.mark.parametrize("side", [1, 2, 3, 8])
@pytest.mark.parametrize("value", [None, 0, 255])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiny_and_constant_images_are_accepted(side: int, value: int | None, channels: int) -> None:
    train, val = (noise(n, side, channels=channels, seed=n) for n in (6, 4))
    if value is not None:
        train, val = (
            with_pixels(images, np.full_like(pixels_of(images), value)) for images in (train, val)
        )
    controls = controls_of_splits(train, val)
    assert list(controls) == list(CONTROLS)
    for control in controls.values():
        assert np.isfinite(control.probabilities).all()
        if value is not None:
            assert control.metrics["auroc"] == 0.5


def test_one_image_per_class_is_accepted() -> None:
    controls = controls_of_splits(noise(2, 16, seed=0), noise(2, 16, seed=1))
    assert list(controls) == list(CONTROLS)


def test_more_than_two_classes() -> None:
    data = open_dataset("phantom:6")
    controls = controls_of(data, Geometry(8))
    assert all(control.probabilities.shape == (len(data.val), 6) for control in controls.values())
    assert controls["pixels"].metrics["auroc"] > 0.55
    assert controls["majority"].metrics["auroc"] == 0.5


def test_the_chunk_size_does_not_change_the_controls(
    plain: dict[str, Control], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "BYTES_AT_ONCE", 6 * 64 * 64 * 7)
    monkeypatch.setattr(best_pixel, "PIXELS_AT_ONCE", 100)
    monkeypatch.setattr(best_pixel, "VALUES", 491 * 64 * 5)
    monkeypatch.setattr(best_pixel, "FEWEST", 2_000)
    again = controls_of(open_dataset("phantom"))
    for name, control in plain.items():
        np.testing.assert_allclose(again[name].probabilities, control.probabilities)


def test_many_images_are_sampled_and_the_sample_size_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tune_bio.controls.fit_controls.FITTED_ON", 50)
    monkeypatch.setattr(best_pixel, "IMAGES", 40)
    train, val = noise(300, 8, seed=0), noise(40, 8, seed=1)
    train.labels[:] = 0
    train.labels[7::100] = 1  # only three images: the class must not get lost
    controls = controls_of_splits(train, val)
    assert "51 of 300 training images" in controls["pixels"].looks_at
    assert "23 of 300 training images" in controls["best_pixel"].looks_at
    assert (controls["pixels"].probabilities[:, 1] > 0).all()
    np.testing.assert_allclose(controls["majority"].probabilities[:, 1], 0.01)


def png_files(folder: Path, *, sizes_differ: bool) -> Path:
    """Write PNGs of 40 patients per class; optionally, those of one class compress better."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(("a", "b")):
        (folder / name).mkdir(parents=True)
        for i in range(40):
            values = 2 if sizes_differ and k == 0 else 256
            pixels = rng.integers(0, values, (16, 16)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}{i:02d}.png")
    return folder


def test_a_file_size_that_differs_by_class_is_detected(tmp_path: Path) -> None:
    data = open_dataset(str(png_files(tmp_path, sizes_differ=True)))
    metadata = controls_of(data)["metadata"]
    assert metadata.metrics["auroc"] == 1
    assert "file size" in metadata.looks_at
    assert "height" not in metadata.looks_at  # constant
    np.testing.assert_array_equal(metadata.predict(data.val), metadata.probabilities)
    assert metrics.auroc(data.test.labels, metadata.predict(data.test), data.positive) == 1
    assert flags.control_near_model("metadata", metadata.metrics["auroc"], 0.99) is not None


def test_similar_files_carry_no_information(tmp_path: Path) -> None:
    data = open_dataset(str(png_files(tmp_path, sizes_differ=False)))
    assert controls_of(data)["metadata"].metrics["auroc"] < 0.8


def test_the_metadata_control_of_a_source_without_files_predicts_the_majority(
    plain: dict[str, Control],
) -> None:
    metadata, majority = plain["metadata"], plain["majority"]
    assert metadata.looks_at.startswith("Nothing")
    np.testing.assert_array_equal(metadata.probabilities, majority.probabilities)


def test_facts_of_files_are_read_from_the_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = {"a": (10, 20), "b": (12, 12)}
    for name, (height, width) in shapes.items():
        (tmp_path / name).mkdir()
        for i in range(6):
            colour = (3,) if i % 2 else ()
            pixels = rng.integers(0, 256, (height, width, *colour)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.{'jpg' if i == 3 else 'png'}")
    train = open_dataset(str(tmp_path)).train
    facts = train.facts()
    for i, (name, label) in enumerate(zip(train.names, train.labels, strict=True)):
        path, (height, width) = tmp_path / str(name), list(shapes.values())[label]
        number = int(path.stem)
        assert {name: values[i] for name, values in facts.items()} == {
            "file size": path.stat().st_size,
            "bytes a pixel": path.stat().st_size / (height * width),
            "format": 1 if number == 3 else 0,
            "height": height,
            "width": width,
            "aspect ratio": width / height,
            "bits": 8,
            "channels": 3 if number % 2 else 1,
        }


def test_facts_of_arrays_are_the_same_for_all_images() -> None:
    images = noise(3, 8, channels=3, dtype=np.uint16)
    facts = {name: values.tolist() for name, values in images.facts().items()}
    expected = {"height": 8, "width": 8, "aspect ratio": 1, "bits": 16, "channels": 3}
    assert facts == {name: [value] * 3 for name, value in expected.items()}


@pytest.mark.real_data
def test_all_controls_of_real_radiographs(real_data: Path) -> None:
    geometry = Geometry(64)
    data = open_dataset(str(real_data / "chest_xray"), geometries=lambda size: [geometry])
    controls = controls_of(data, geometry)
    assert controls["majority"].metrics["auroc"] == 0.5
    # In this data set, file metadata and borders are known to reveal the label.
    assert controls["metadata"].metrics["auroc"] > 0.8
    assert controls["border"].metrics["auroc"] > 0.9
    assert controls["pixels"].metrics["auroc"] > controls["best_pixel"].metrics["auroc"] > 0.7
