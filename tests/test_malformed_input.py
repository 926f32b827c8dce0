"""Malformed files and command lines: a one-line error, exit status 2, and no file written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import ray
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.data_factory import is_one_line
from tune_bio.search import main

pytestmark = pytest.mark.usefixtures("without_ray")

SPACE = """
from tune_bio import SearchSettings, Trial

SETTINGS = SearchSettings(data={data!r}, num_trials=2, max_epochs=2, finalists=0, controls=False)


def search_space(trial: Trial) -> None:
    trial.suggest_categorical("model", ["ann"])
    trial.suggest_float("lr", 1e-4, 1e-2, log=True)
"""
RNG = np.random.default_rng(0)
N = 24
IMAGES = RNG.integers(0, 256, (N, 12, 12)).astype(np.uint8)
LABELS = np.arange(N) % 2

fuzzing = settings(
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def _npz(path: Path) -> list[str]:
    np.savez(path / "data.npz", train_images=IMAGES, train_labels=LABELS)
    return ["--data", str(path / "data.npz")]


def _npy(path: Path) -> list[str]:
    (path / "data").mkdir()
    for k in range(2):
        np.save(path / "data" / f"class{k}.npy", IMAGES[k == LABELS])
    return ["--data", str(path / "data")]


def _folder(suffix: str, dtype: Any = np.uint8) -> Callable[[Path], list[str]]:
    def write(path: Path) -> list[str]:
        for k in range(2):
            (path / "data" / f"class{k}").mkdir(parents=True)
        for i, image in enumerate(IMAGES[:10]):
            image_path = path / "data" / f"class{i % 2}" / f"{i}.{suffix}"
            pixels = image.astype(dtype) * (100 if dtype == np.uint16 else 1)
            Image.fromarray(pixels).save(image_path)
        return ["--data", str(path / "data")]

    return write


def _metadata(path: Path) -> list[str]:
    arguments = _folder("png")(path)
    files = sorted(p.relative_to(path / "data").as_posix() for p in path.rglob("*.png"))
    rows = [f"{file},p{i // 2},{i % 2}" for i, file in enumerate(files)]
    (path / "data" / "metadata.csv").write_text("\n".join(["file,patient,label", *rows]))
    return arguments


def _json_list(path: Path) -> list[str]:
    (path / "list.json").write_text(json.dumps([{"model": "ann", "lr": 0.01}] * 2))
    return ["--configs", str(path / "list.json")]


def _table(path: Path) -> list[str]:
    pd.DataFrame({"params.model": ["ann"], "seed": [3]}).to_parquet(path / "trials.parquet")
    return ["--configs", str(path / "trials.parquet")]


def _space(path: Path) -> list[str]:
    return []  # the search-space file itself is damaged


def _weights(path: Path) -> list[str]:
    (path / "weights").mkdir()
    arrays = {"features.0.weight": np.zeros((4, 3, 3, 3), np.float32)}
    safetensors.numpy.save_file(arrays, path / "weights" / "squeezenet1_0.safetensors")
    pins = ["--set", "model=squeezenet1_0", "--set", "weights=imagenet", "--image-size", "32"]
    return ["--weights-dir", str(path / "weights"), *pins]


# For each kind of file: a function that writes a valid one, and the number of examples.
WRITERS: dict[str, tuple[Callable[[Path], list[str]], int]] = {
    "npz": (_npz, 40),
    "npy": (_npy, 30),
    "png": (_folder("png"), 20),
    "16-bit png": (_folder("png", np.uint16), 20),
    "jpeg": (_folder("jpeg"), 20),
    "bmp": (_folder("bmp"), 10),
    "tiff": (_folder("tiff"), 20),
    "16-bit tiff": (_folder("tiff", np.uint16), 20),
    "metadata.csv": (_metadata, 30),
    "list.json": (_json_list, 30),
    "trials.parquet": (_table, 15),
    "space.py": (_space, 25),
}
COMMAND_LINES = 60  # number of examples

DAMAGE = st.one_of(
    st.tuples(st.just("cut"), st.floats(0, 1)),
    st.tuples(st.just("flip"), st.lists(st.tuples(st.floats(0, 1, exclude_max=True),
                                                  st.integers(1, 255)), min_size=1, max_size=6)),
    st.tuples(st.just("replace"), st.binary(max_size=60)),
    st.tuples(st.just("prepend"), st.binary(min_size=1, max_size=9)),
    st.tuples(st.just("insert"), st.text(max_size=20)),
)  # fmt: skip


def _damaged(content: bytes, kind: str, damage: Any) -> bytes:
    data = bytearray(content)
    if kind == "cut":
        return bytes(data[: round(damage * len(data))])
    if kind == "flip":
        for position, change in damage:
            data[int(position * len(data))] ^= change
        return bytes(data)
    if kind == "prepend":
        return bytes(damage) + content
    if kind == "insert":
        middle = len(data) // 2
        return content[:middle] + str(damage).encode() + content[middle:]
    return bytes(damage)


def _snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def attempt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., int]:
    """A function that starts a dry run; it must succeed, or fail in one line and write nothing."""

    def run(space: Path, *arguments: str) -> int:
        before = _snapshot(tmp_path)
        results = ["--results", str(tmp_path / "results"), "--dry-run"]
        status = main([str(space), *arguments, *results])
        output = capsys.readouterr()
        assert status in (0, 2)
        assert "Traceback" not in output.out + output.err
        assert _snapshot(tmp_path) == before
        assert not (tmp_path / "results").exists()
        assert not ray.is_initialized()
        if status == 2:
            assert output.err.startswith("error: ")
            assert output.err.count("\n") == 1, output.err
            assert is_one_line(ValueError(output.err.removeprefix("error: ").strip()))
        return status

    return run


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A search-space file with a small valid dataset."""
    np.savez(tmp_path / "valid.npz", train_images=IMAGES, train_labels=LABELS)
    path = tmp_path / "space.py"
    path.write_text(SPACE.format(data=str(tmp_path / "valid.npz")))
    return path


def test_there_are_at_least_300_examples() -> None:
    assert sum(examples for _, examples in WRITERS.values()) + COMMAND_LINES >= 300


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::SyntaxWarning")
@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files_are_either_read_or_refused(
    tmp_path: Path, plain: Path, attempt: Callable[..., int], name: str
) -> None:
    write, examples = WRITERS[name]
    folder = tmp_path / "input"
    statuses = []

    @settings(fuzzing, max_examples=examples)
    @given(damage=DAMAGE, position=st.floats(0, 1, exclude_max=True))
    def attempt_damaged(damage: tuple[str, Any], position: float) -> None:
        folder.mkdir()
        try:
            arguments = write(folder)
            files = sorted(p for p in folder.rglob("*") if p.is_file())
            files = [p for p in files if p.name == name] or files or [folder / "space.py"]
            file = files[int(position * len(files))]
            content = file.read_bytes() if file.exists() else plain.read_bytes()
            file.write_bytes(_damaged(content, *damage))
            space = file if file.suffix == ".py" else plain
            statuses.append(attempt(space, *arguments))
        finally:
            shutil.rmtree(folder)

    attempt_damaged()
    assert statuses.count(2) >= examples / 4  # some damaged files can still be read


FLAGS = (
    "--data", "--image-size", "--patient-pattern", "--positive-class", "--set", "--configs",
    "--num-trials", "--max-epochs", "--metric", "--searcher", "--scheduler", "--grace-period",
    "--reduction-factor", "--seed", "--time-budget", "--name", "--cpus-per-trial",
    "--gpus-per-trial", "--max-concurrent", "--stall-timeout", "--weights-dir", "--missing-weights",
    "--finalists", "--replicates", "--resume", "--quiet", "--no-controls", "--unknown",
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(["", "-1", "0", "1.5", "nan", "inf", "1e999", "none", "grid", "tpe", "[", "(",
                     "../up", "/", "a/b", ".", "lr=", "=1", "lr=x", "model=no", "epochs=0",
                     "seed=-1", "dropout=0.1-0.2-x", "width=9-", "image_size=1", "phantom:99",
                     "phantom:x"]),
    st.integers().map(str),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
)  # fmt: skip


def test_malformed_command_lines_are_refused(plain: Path, attempt: Callable[..., int]) -> None:
    statuses = []

    @settings(fuzzing, max_examples=COMMAND_LINES)
    @given(st.lists(st.tuples(st.sampled_from(FLAGS), VALUES), min_size=1, max_size=3))
    def attempt_flags(pairs: list[tuple[str, str]]) -> None:
        statuses.append(attempt(plain, *(token for pair in pairs for token in pair)))

    attempt_flags()
    assert statuses.count(2) > COMMAND_LINES / 2


def test_damaged_weights_are_refused_on_loading(tmp_path: Path, plain: Path) -> None:
    arguments = _weights(tmp_path)
    status = main([str(plain), *arguments, "--results", str(tmp_path / "results"), "--quiet"])
    assert status == 2
    assert not (tmp_path / "results").exists()
    assert not ray.is_initialized()
