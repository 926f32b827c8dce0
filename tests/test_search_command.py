"""The command line: bad input is refused in one line, nothing is started and nothing written."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from PIL import Image

from tests.datasets.audit.audit_factory import smooth
from tune_bio.search import main

pytestmark = pytest.mark.usefixtures("without_ray")

SPACE = """
from tune_bio import SearchSettings, Trial

SETTINGS = SearchSettings(data="phantom", num_trials=2, max_epochs=2)


def search_space(trial: Trial) -> None:
    trial.suggest_categorical("model", ["ann", "cnn"])
    trial.suggest_float("lr", 1e-4, 1e-2, log=True)
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.py"
    path.write_text(SPACE)
    return path


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs the command on bad input and returns the error line."""

    def run(*arguments: object) -> str:
        results = tmp_path / "results"
        before = sorted(results.rglob("*")) if results.exists() else None
        status = main([str(a) for a in arguments] + ["--results", str(results)])
        output = capsys.readouterr()
        assert status == 2, output.out + output.err
        assert output.err.startswith("error: ")
        assert output.err.count("\n") == 1, output.err
        assert ": " in output.err.removeprefix("error: "), "fault and remedy"
        assert "Traceback" not in output.out + output.err
        assert not ray.is_initialized()
        assert (sorted(results.rglob("*")) if results.exists() else None) == before
        return output.err

    return run


def _image(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((32, 32), value, dtype=np.uint8)).save(path)


def _npz(path: Path, **arrays: Any) -> Path:
    n = 20
    valid = {
        f"{split}_{kind}": np.zeros((n, 16, 16), np.uint8) if kind == "images" else np.arange(n) % 2
        for split in ("train", "val", "test")
        for kind in ("images", "labels")
    }
    np.savez(path, **{**valid, **arrays})
    return path


def test_missing_folder(space: Path, refused: Any) -> None:
    assert "does not exist" in refused(space, "--data", "/no/such/folder")


def test_empty_folder(space: Path, refused: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "is empty" in refused(space, "--data", tmp_path / "empty")


def test_one_class(space: Path, refused: Any, tmp_path: Path) -> None:
    _image(tmp_path / "images" / "normal" / "a.png")
    assert "one class" in refused(space, "--data", tmp_path / "images")


def test_unreadable_image(space: Path, refused: Any, tmp_path: Path) -> None:
    for name in "abc":
        _image(tmp_path / "images" / "normal" / f"{name}.png")
        _image(tmp_path / "images" / "sick" / f"{name}.png")
    broken = tmp_path / "images" / "sick" / "broken.png"
    broken.write_text("not an image")
    assert str(broken) in refused(space, "--data", tmp_path / "images")


def test_text_named_npz(space: Path, refused: Any, tmp_path: Path) -> None:
    (tmp_path / "data.npz").write_text("not an archive")
    assert "is not an .npz file" in refused(space, "--data", tmp_path / "data.npz")


def test_npz_with_pickled_objects(space: Path, refused: Any, tmp_path: Path) -> None:
    data = _npz(tmp_path / "data.npz", train_labels=np.array([{"a": 1}] * 20, dtype=object))
    assert "pickled" in refused(space, "--data", data)


def test_labels_out_of_range(space: Path, refused: Any, tmp_path: Path) -> None:
    data = _npz(tmp_path / "data.npz", val_labels=np.full(20, 7))
    assert "outside 0 to 1" in refused(space, "--data", data)


def test_unknown_model(space: Path, refused: Any) -> None:
    line = refused(space, "--set", "model=resnet81")
    assert "unknown model 'resnet81'" in line
    assert "resnet18" in line


def test_unknown_positive_class(space: Path, refused: Any) -> None:
    assert "negative, positive" in refused(space, "--positive-class", "sick")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "defines no search_space"),
        ("def search_space(trial)\n    pass\n", "line 1"),
        ("import nothing_of_that_name\ndef search_space(trial): pass\n", "line 1"),
        ("def search_space(trial):\n    trial.suggest_float('lrr', 0, 1)\n", "did you mean 'lr'"),
        ("def search_space(trial):\n    trial.suggest_float('lr', 1, 0)\n", "low <= high"),
        ("def search_space(trial):\n    return 1 / 0\n", "line 2"),
        ("def search_space(trial):\n    pass\n", "suggests no model"),
        (
            "def search_space(trial):\n"
            "    trial.suggest_categorical('model', ['resnet18'])\n"
            "    trial.suggest_categorical('freeze', ['none', 'backbone'])\n",
            "impossible combination",
        ),
        (
            "def search_space(trial):\n"
            "    trial.suggest_categorical('model', ['resnet18'])\n"
            "    trial.suggest_categorical('weights', ['IMAGENET1K_V2'])\n",
            "resnet18 has IMAGENET1K_V1",
        ),
        ("SETTINGS = {'data': 'phantom'}\ndef search_space(trial): pass\n", "SearchSettings"),
        (
            "from tune_bio import SearchSettings\nSETTINGS = SearchSettings(metric='auc')\n",
            "metric",
        ),
    ],
)
def test_faulty_search_spaces(refused: Any, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "faulty.py"
    path.write_text(text)
    assert message in refused(path)


def test_a_missing_search_space_is_reported_with_the_existing_files(
    space: Path, refused: Any
) -> None:
    assert "space.py" in refused(space.with_name("spaec.py"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--set", "lrr=1"), "did you mean 'lr'"),
        (("--set", "lr"), "KEY=VALUE"),
        (("--set", "lr=fast"), "lr='fast'"),
        (("--set", "gamma=0.5"), "has no effect"),
        (("--set", "freeze=gradual"), "weights='none'"),
        (("--image-size", "4"), "image_size=4"),
        (("--image-size", "32", "--set", "image_size=64"), "contradicts"),
        (("--patient-pattern", "(p"), "has no file names"),
        (("--num-trials", "-3"), "num_trials=-3"),
        (("--num-trials", "three"), "--num-trials"),
        (("--max-epochs", "0"), "max_epochs=0"),
        (("--searcher", "annealing"), "tpe, random, grid, gp"),
        (("--searcher", "grid"), "a grid needs choices"),
        (("--finalists", "x"), "neither a number nor"),
        (("--replicates", "0"), "replicates=0"),
        (("--sensitivity", "2"), "sensitivity=2"),
        (("--resume",), "there is no study in"),
        (("--no-such-flag",), "--help"),
        (("--address", "127.0.0.1:1"), "no Ray cluster answers"),
        (("--address", "somewhere:port"), "no Ray cluster answers"),
        (("--name", "../escape"), "not a valid folder name"),
        (("--name", ".hidden"), "not a valid folder name"),
        (("--gpus-per-trial", "9"), "no node has them"),
        (("--cpus-per-trial", "4096"), "no node has them"),
        (("--configs", "/no/such/list.json"), "does not exist"),
        (("--weights-dir", "/no/such/dir"), "is not a folder"),
        (("--set", "weights=imagenet"), "impossible combination"),
    ],
)
def test_faulty_flags(space: Path, refused: Any, flags: tuple[str, ...], message: str) -> None:
    assert message in refused(space, *flags)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "is not JSON"),
        ("[]", "lists no configuration"),
        ('{"model": "ann"}', "is not a list of objects"),
        ('[{"lr": 0.1}]', "'model' is missing"),
        ('[{"model": "ann"}, {"model": "ann", "depht": 2}]', "configuration 2"),
        ('[{"model": "ann", "epochs": true}]', "epochs=True"),
    ],
)
def test_faulty_configuration_lists(
    space: Path, refused: Any, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "configs.json"
    path.write_text(text)
    assert message in refused(space, "--configs", path)


def test_an_existing_results_folder_is_not_changed(
    space: Path, refused: Any, tmp_path: Path
) -> None:
    existing = tmp_path / "results" / "space" / "trials.parquet"
    existing.parent.mkdir(parents=True)
    existing.write_text("mine")
    assert "--name space-2" in refused(space)
    assert existing.read_text() == "mine"


def test_no_permission_to_write(space: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(space), "--results", "/proc/tune_bio"]) == 2
    assert "nothing can be written to" in capsys.readouterr().err


def test_unavailable_weights_are_refused_under_error(space: Path, refused: Any) -> None:
    line = refused(
        space, "--set", "model=resnet18", "--set", "weights=imagenet", "--missing-weights", "error",
        "--dry-run",
    )  # fmt: skip
    assert "unavailable weights: resnet18" in line


def test_an_empty_space_is_refused_under_skip(space: Path, refused: Any) -> None:
    line = refused(space, "--set", "model=resnet18", "--set", "weights=imagenet", "--dry-run")
    assert "nothing is left to search" in line


def test_a_dry_run_shows_the_plan_and_writes_nothing(
    space: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(space), "--results", str(tmp_path / "results"), "--dry-run"]) == 0
    output = capsys.readouterr().out
    for text in ("200 patients", "synthetic", "lr", "1e-04 ... 0.01 (log)", "estimated time"):
        assert text in output.replace("0.0001 ...", "1e-04 ...")
    assert not (tmp_path / "results").exists()
    assert not ray.is_initialized()


def test_help_and_bad_flags_answer_without_loading_pytorch() -> None:
    script = (
        "import sys; from tune_bio.search import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert main(['nowhere.py', '--num-trials', '-3']) == 2\n"
        "assert 'torch' not in sys.modules and 'ray' not in sys.modules"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert "examples:" in process.stdout


@pytest.mark.slow
def test_missing_internet_access_is_reported(space: Path, tmp_path: Path) -> None:
    """The connection test gives up by itself; otherwise this test would run into its timeout."""
    process = subprocess.run(
        [
            sys.executable, "-m", "tune_bio.search", str(space), "--set", "model=resnet18",
            "--set", "weights=imagenet", "--results", str(tmp_path),
        ],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "TORCH_HOME": str(tmp_path / "torch"),
            # An address that drops packets, like a hospital's firewall.
            "https_proxy": "http://192.0.2.1:9",
            "HTTPS_PROXY": "http://192.0.2.1:9",
        },
    )  # fmt: skip
    assert process.returncode == 2
    assert "cannot be reached" in process.stderr


def _split_by_image(root: Path) -> Path:
    """Write images named like the chest X-ray set, one patient in both train and val."""
    images = smooth(24, 24, seed=0)
    numbers_by_split = {"train": range(12), "val": range(12, 18), "test": range(18, 24)}
    for split, numbers in numbers_by_split.items():
        for number in numbers:
            label = ("NORMAL", "PNEUMONIA")[number % 2]
            patient = 1 if number in (1, 13) else number
            pneumonia, normal = f"person{patient}_virus_{number}.png", f"IM-{number:04d}-0001.png"
            name = pneumonia if number % 2 else normal
            path = root / split / label / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[number]).save(path)
    return root


def test_a_patient_in_two_splits_stops_the_search_before_decoding(
    space: Path, refused: Any, tmp_path: Path
) -> None:
    data, cache = _split_by_image(tmp_path / "split"), tmp_path / "cache"
    flags = ("--data", str(data), "--image-size", "32", "--cache-dir", str(cache))
    line = refused(space, *flags)
    assert "1 patient" in line
    assert "--allow-leakage" in line
    assert not cache.exists()


def test_an_allowed_leak_is_marked_in_the_output(
    space: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = _split_by_image(tmp_path / "split")
    flags = ["--data", str(data), "--image-size", "32", "--cache-dir", str(tmp_path / "cache")]
    assert main([str(space), *flags, "--allow-leakage", "--dry-run"]) == 0
    assert "LEAKAGE between the given splits, allowed" in capsys.readouterr().out.replace("\n", " ")
