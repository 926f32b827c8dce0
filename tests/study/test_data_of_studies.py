"""The data of a study: the pixels that are prepared, the split files, and the exported model."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from tests.data_factory import config, is_one_line
from tune_bio.datasets.cache import arrays
from tune_bio.datasets.opening import open_dataset
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.trial_data import prepare_data
from tune_bio.errors import ConfigError, DataError
from tune_bio.inference.exported_model import load_model
from tune_bio.ray_tune.object_store import share_inputs
from tune_bio.ray_tune.resources import Node
from tune_bio.search import main
from tune_bio.space.search_space import load_search_space
from tune_bio.space.settings import SearchSettings
from tune_bio.study.console import print_plan
from tune_bio.study.manifest import plan_entry
from tune_bio.study.planning.plan import Plan, geometry_of
from tune_bio.study.planning.preflight import make_plan
from tune_bio.study.request import Request
from tune_bio.training.metrics import compute_metrics

SPACE = """
def search_space(trial):
    trial.suggest_categorical("model", ["{model}"])
    {line}
"""


def write_images(path: Path, *, side: int = 20, dtype: Any = np.uint8) -> Path:
    """Write images of two classes that differ in one corner; 16-bit images use twelve bits."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(("ill", "well")):
        for i in range(24):
            image = rng.integers(0, 200, (side, side))
            image[:8, :8] += 50 * k
            image = image * (16 if dtype == np.uint16 else 1)
            file = path / name / f"p{i // 2}-{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.astype(dtype)).save(file)
    return path


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Plan]:
    """A function that plans a study of some data, with `line` in its search space."""

    def make(line: str, data: Any, model: str = "ann", **options: Any) -> Plan:
        path = tmp_path / "space.py"
        path.write_text(SPACE.format(line=line, model=model))
        request = Request(name="study", results=tmp_path / "results", **options)
        settings = SearchSettings(data=str(data))
        return make_plan(load_search_space(path), settings, request, (Node(2, 0),))

    return make


@pytest.mark.parametrize(
    ("params", "size", "expected"),
    [
        ({}, 64, Geometry(64)),
        ({}, 2000, Geometry(224)),
        ({"resize": 300}, 2000, Geometry(300, 300)),
        ({"resize": 300, "crop": 256}, 2000, Geometry(256, 300, 256)),
        ({"resize": 300, "crop": 256, "image_size": 32}, 2000, Geometry(32, 300, 256)),
        ({"resize": 0, "crop": 0}, 64, Geometry(64)),
    ],
)
def test_the_image_size_follows_from_the_drawn_hyperparameters(
    params: Any, size: int, expected: Geometry
) -> None:
    assert geometry_of(params, size) == expected


def test_only_the_geometries_of_a_space_are_prepared(
    plan: Any, tmp_path: Path, cache_home: Path
) -> None:
    images = write_images(tmp_path / "data")
    two_sizes = plan('trial.suggest_categorical("image_size", [12, 16])', images)
    assert two_sizes.geometries == (Geometry(12), Geometry(16))
    assert len(list((cache_home / "decoded").iterdir())) == 2
    assert two_sizes.config({"model": "ann", "image_size": 12}).image_size == 12


def test_images_too_small_for_a_model_are_refused_before_any_is_decoded(
    plan: Any, tmp_path: Path, cache_home: Path
) -> None:
    folder = write_images(tmp_path / "data", side=9)
    with pytest.raises(ConfigError, match=r"image_size=9 .*resnet18") as caught:
        plan("pass", folder, model="resnet18")
    assert is_one_line(caught.value)
    assert not (cache_home / "decoded").exists()


@pytest.mark.parametrize("name", ["image_size", "resize"])
def test_a_range_of_sizes_is_refused(plan: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' is a range"):
        plan(f'trial.suggest_int("{name}", 16, 64)', "phantom")


def test_arrays_replace_the_data_source(plan: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 12, 12)).astype(np.uint8)
    on_arrays = plan(
        "pass", "no/such/folder",
        arrays=(images, np.arange(40) % 2, np.arange(40) // 2), class_names=("well", "ill"),
        positive_class="well",
    )  # fmt: skip
    assert on_arrays.dataset.source == on_arrays.settings.data == "arrays in memory"
    assert (on_arrays.dataset.classes, on_arrays.dataset.positive) == (("well", "ill"), 0)
    assert on_arrays.geometries == (Geometry(12),)
    assert plan_entry(on_arrays)["settings"]["data"] == "arrays in memory"
    with pytest.raises(DataError, match="labels of 'train'"):
        plan("pass", "phantom", arrays=(images, np.arange(3)))


def test_the_patient_pattern_and_the_cache_folder_are_used(plan: Any, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "data")
    by_patient = plan("pass", folder, patient_pattern=r"p\d+", cache_dir=tmp_path / "cache")
    assert by_patient.dataset.patients_known
    assert set(by_patient.dataset.train.patients) < {f"p{i}" for i in range(12)}
    assert list((tmp_path / "cache" / "decoded").iterdir())


def test_the_manifest_and_the_first_lines_printed_describe_the_pixels(
    plan: Any, tmp_path: Path
) -> None:
    of_16_bits = plan("pass", write_images(tmp_path / "data", dtype=np.uint16))
    data_entry = plan_entry(of_16_bits)["data"]
    (pixel_range,) = data_entry["pixels"]["range"]
    train = of_16_bits.dataset.train.at(Geometry(20))
    assert (pixel_range["black"], pixel_range["white"]) == (train.min(), train.max())
    assert data_entry["pixels"]["shape"] == [20, 20]
    assert json.dumps(data_entry)
    output = io.StringIO()
    print_plan(of_16_bits, None, Console(file=output, width=200))
    assert "20x20 px, grey, 16 bit" in output.getvalue()
    assert "of decoded images in" in output.getvalue()


def test_a_large_split_is_shared_as_a_file(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(str(write_images(tmp_path / "data")))
    in_memory = prepare_data(dataset, Geometry(16))
    monkeypatch.setattr(arrays, "LARGE", 0)
    shared = share_inputs({Geometry(16): prepare_data(dataset, Geometry(16))}, {})
    files = [array for array in shared.data[Geometry(16)].arrays if isinstance(array, Path)]
    assert len(files) == 2
    assert [len(np.load(path)) for path in files] == [len(dataset.train), len(dataset.val)]
    mapped = shared.trial_data(config("ann", image_size=16))
    for split, expected in ((mapped.train, in_memory.train), (mapped.val, in_memory.val)):
        assert isinstance(split.pixels, np.memmap)
        assert not split.pixels.flags.writeable
        assert np.array_equal(split.pixels, expected.pixels)
    files[0].unlink()
    with pytest.raises(DataError, match=r"cannot be read on this node.*--cache-dir") as caught:
        shared.trial_data(config("ann", image_size=16))
    assert is_one_line(caught.value)


def test_the_model_of_a_study_of_16_bit_files_reads_the_originals(
    study: Callable[..., Any], tmp_path: Path
) -> None:
    folder = write_images(tmp_path / "data", dtype=np.uint16)
    finished = study(
        "--data", str(folder), "--image-size", "16", "--patient-pattern", r"(p\d+)-",
        "--cache-dir", str(tmp_path / "cache"), "--max-epochs", "3",
        configs=[{"model": "ann", "width": 16, "lr": 0.003}],
    )  # fmt: skip
    assert finished.status == 0
    data = finished.manifest["data"]
    assert data["patients_known"]
    assert finished.trials["params.image_size"].tolist() == [16]
    model = load_model(finished.folder)
    validation = open_dataset(str(folder), patient_pattern=r"(p\d+)-").val
    originals = np.stack(list(validation.originals()))[..., 0]
    assert originals.dtype == model.dtype == np.uint16
    metrics = compute_metrics(validation.labels, model.predict(originals), 1)
    assert metrics["auroc"] == pytest.approx(finished.trials["best_val_auroc"].iloc[0], abs=1e-6)
    with pytest.raises(DataError, match=r"uint8.*give uint16") as caught:
        model.predict((originals // 256).astype(np.uint8))
    assert is_one_line(caught.value)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--image-size", "32", "--set", "image_size=48"), "contradicts --set image_size=48"),
        (("--image-size", "3"), "image_size=3"),
        (("--image-size", "big"), "--image-size"),
        (("--patient-pattern", "x"), "no file names"),
        (("--data", "phantom:99"), "no data source 'phantom:99'"),
    ],
)
def test_faulty_data_flags_are_refused_in_one_line(
    space: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    message: str,
) -> None:
    assert main([str(space), "--results", str(tmp_path / "results"), *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_the_same_image_size_may_be_given_twice(
    space: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--image-size", "12", "--set", "image_size=12", "--dry-run")
    assert main([str(space), "--results", str(tmp_path / "results"), *flags]) == 0
    assert "image_size" in capsys.readouterr().out


@pytest.mark.slow
def test_a_study_on_mapped_files_gives_the_same_bits_as_in_memory(
    study: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_home: Path
) -> None:
    flags = ("--data", str(write_images(tmp_path / "data", dtype=np.uint16)), "--image-size", "16")
    configs = [{"model": "cnn", "width": 8, "epochs": 2, "batch_size": 8}]
    in_memory = study(*flags, name="memory", configs=configs)
    assert not (cache_home / "splits").exists()
    monkeypatch.setattr(arrays, "LARGE", 0)
    mapped = study(*flags, name="mapped", configs=configs)
    assert len(list((cache_home / "splits").iterdir())) >= 2
    timed = ["seconds", "images_per_second"]
    pd.testing.assert_frame_equal(
        in_memory.epochs.drop(columns=timed), mapped.epochs.drop(columns=timed), check_exact=True
    )
