"""The cache of decoded images: nothing is decoded twice, and nothing stale is ever served."""

import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data_factory import is_one_line
from tests.datasets.source_factory import noise, save
from tune_bio.datasets.cache import arrays
from tune_bio.datasets.opening import open_dataset
from tune_bio.datasets.sources import file_index, file_source
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.errors import DataError

SIZE = Geometry(8)
N = 5  # images a class


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k, name in enumerate(("a", "b")):
        for i in range(N):
            save(tmp_path / "data" / name / f"{i}.png", noise(12, 10, seed=100 * k + i))
    return tmp_path / "data"


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many files are decoded, and how many read to learn of a change."""
    found = {"decoded": 0, "scanned": 0}

    def counting(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            found[name] += 1
            return work(*arguments)

        return counted

    monkeypatch.setattr(file_source, "decode", counting("decoded", file_source.decode))
    monkeypatch.setattr(file_index, "read_header", counting("scanned", file_index.read_header))
    monkeypatch.setattr(file_index, "SETTLED_NS", 0)  # these files were made this moment
    return found


def opened(folder: Path, *geometries: Geometry) -> Any:
    wanted = geometries or (SIZE,)
    return open_dataset(str(folder), geometries=lambda size: wanted)


def pixels(folder: Path) -> Any:
    """Every image of a folder by name, read anew."""
    dataset = opened(folder)
    return {
        name: image.tolist()
        for split in dataset.splits.values()
        for name, image in zip(split.names, split.at(SIZE), strict=True)
    }


def decoded_files(cache_home: Path) -> list[Path]:
    return sorted((cache_home / "decoded").iterdir())


def test_the_second_opening_reads_and_decodes_nothing(folder: Path, counts: dict[str, int]) -> None:
    first = pixels(folder)
    assert counts == {"decoded": 2 * N, "scanned": 2 * N}
    assert pixels(folder) == first
    assert counts == {"decoded": 2 * N, "scanned": 2 * N}


def test_all_geometries_are_decoded_in_one_pass_and_a_new_one_alone(
    folder: Path, counts: dict[str, int], cache_home: Path
) -> None:
    opened(folder, Geometry(8), Geometry(9), Geometry(8, resize=11), Geometry(8))
    assert counts["decoded"] == 2 * N
    assert len(decoded_files(cache_home)) == 3
    opened(folder, Geometry(9), Geometry(10))
    assert counts["decoded"] == 4 * N
    assert len(decoded_files(cache_home)) == 4


def test_the_pixels_of_a_geometry_do_not_depend_on_the_others(folder: Path, tmp_path: Path) -> None:
    together = opened(folder, Geometry(8), Geometry(12), Geometry(10)).train.at(Geometry(8))
    alone = open_dataset(
        str(folder), geometries=lambda size: [Geometry(8)], cache_dir=tmp_path / "other"
    )
    assert np.array_equal(together, alone.train.at(Geometry(8)))


def test_a_changed_file_is_seen_though_its_size_stays(folder: Path, counts: dict[str, int]) -> None:
    first = pixels(folder)
    path = folder / "a" / "3.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    changed = pixels(folder)
    assert {name for name in first if changed[name] != first[name]} == {"a/3.png"}
    assert counts["scanned"] == 2 * N + 1


def test_a_touched_file_is_read_again_and_not_decoded(folder: Path, counts: dict[str, int]) -> None:
    first = pixels(folder)
    os.utime(folder / "a" / "3.png", (1, 1))
    assert pixels(folder) == first
    assert counts == {"decoded": 2 * N, "scanned": 2 * N + 1}


def test_a_file_that_changed_this_moment_is_read_again(
    folder: Path, counts: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_index, "SETTLED_NS", 3600 * 10**9)
    opened(folder)
    opened(folder)
    assert counts == {"decoded": 2 * N, "scanned": 4 * N}


def test_added_removed_and_renamed_files_are_seen(folder: Path) -> None:
    opened(folder)
    save(folder / "a" / "9.png", noise(12, 10, seed=9))
    (folder / "b" / "0.png").unlink()
    (folder / "b" / "1.png").rename(folder / "b" / "7.png")
    found = pixels(folder)
    assert len(found) == 2 * N
    for name, image in found.items():
        original = np.asarray(Image.open(folder / name))[None, ..., None]
        assert np.array_equal(SIZE.apply(original)[0], image)


def test_a_copy_of_a_folder_is_decoded_by_its_content(
    folder: Path, counts: dict[str, int], tmp_path: Path
) -> None:
    opened(folder)
    folder.rename(tmp_path / "moved")
    opened(tmp_path / "moved")
    assert counts == {"decoded": 2 * N, "scanned": 4 * N}


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _replace_by_text(path: Path) -> None:
    path.write_text("hello")


def _replace_by_another_shape(path: Path) -> None:
    np.save(path, noise(3, 8, 8, 1))


def _replace_by_another_dtype(path: Path) -> None:
    np.save(path, np.load(path).astype(np.uint16))


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _replace_by_text,
        _replace_by_another_shape,
        _replace_by_another_dtype,
        Path.unlink,
    ],
)
def test_a_damaged_cache_is_made_anew(
    folder: Path, counts: dict[str, int], cache_home: Path, damage: Callable[[Path], None]
) -> None:
    first = pixels(folder)
    (path,) = decoded_files(cache_home)
    damage(path)
    assert pixels(folder) == first
    assert counts["decoded"] == 4 * N
    assert len(np.load(path)) == 2 * N


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"version": "0", "files": {}}', '{"version": "1", "files": 3}']
)
def test_a_damaged_index_is_made_anew(
    folder: Path, counts: dict[str, int], cache_home: Path, text: str
) -> None:
    first = pixels(folder)
    (path,) = (cache_home / "indexes").iterdir()
    path.write_text(text)
    assert pixels(folder) == first
    assert counts == {"decoded": 2 * N, "scanned": 4 * N}
    assert len(json.loads(path.read_text())["files"]) == 2 * N


@pytest.mark.parametrize(
    "changed",
    [
        "DECODER_VERSION",
        "TRANSFORM_VERSION",
        "PIL.__version__",
        "tifffile.__version__",
        "imagecodecs.__version__",
        "torch.__version__",
        "torchvision.__version__",
    ],
)
def test_other_versions_never_find_what_these_have_decoded(
    folder: Path, counts: dict[str, int], monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    split_key = opened(folder).train._key(SIZE)
    monkeypatch.setattr(f"tune_bio.datasets.decoding.versions.{changed}", "another")
    assert opened(folder).train._key(SIZE) != split_key
    assert counts["decoded"] == 4 * N


def test_a_file_that_changes_between_reading_and_decoding_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def geometries(size: int) -> Sequence[Geometry]:
        save(folder / "a" / "3.png", noise(12, 10, seed=77))
        return [SIZE]

    with pytest.raises(DataError, match=r"3\.png changed while") as caught:
        open_dataset(str(folder), geometries=geometries)
    assert is_one_line(caught.value)


def test_progress_is_told_image_by_image_for_reading_and_for_decoding(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    open_dataset(str(folder), progress=lambda done, total: told.append((done, total)))
    assert told == [(k, 2 * N) for k in range(1, 2 * N + 1)] * 2


def test_a_late_colour_image_makes_the_set_colour(folder: Path, cache_home: Path) -> None:
    """Stored as colour and grey at first, so that grey is what the set seems to be."""
    for i in range(N):
        path = folder / "a" / f"{i}.png"
        Image.open(path).convert("RGB").save(path)
    assert opened(folder).channels == 1
    save(folder / "b" / "4.png", noise(12, 10, 3))
    dataset = opened(folder)
    assert dataset.channels == 3
    assert dataset.train.at(SIZE).shape[3] == 3


def test_what_is_kept_is_no_larger_than_the_geometry(folder: Path, cache_home: Path) -> None:
    opened(folder)
    kept = sum(path.stat().st_size for path in (cache_home / "decoded").iterdir())
    assert kept <= 2 * N * 8 * 8 + 256


def _no_folder(path: Path) -> Path:
    path.write_text("a file")
    return path


def _not_mine(path: Path) -> Path:
    return Path("/proc/tune_bio")


@pytest.mark.parametrize("spoil", [_no_folder, _not_mine])
def test_a_cache_that_cannot_be_written_is_told_with_the_flag(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], Path]
) -> None:
    with pytest.raises(DataError, match=r"cannot be written.*--cache-dir") as caught:
        open_dataset(str(folder), cache_dir=spoil(tmp_path / "cache"))
    assert is_one_line(caught.value)


def test_a_full_disk_is_told_with_the_flag_and_leaves_nothing(
    folder: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 100

    monkeypatch.setattr(arrays.psutil, "disk_usage", lambda path: Full)
    with pytest.raises(DataError, match=r"more than is free.*--cache-dir") as caught:
        opened(folder)
    assert is_one_line(caught.value)
    assert decoded_files(cache_home) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_disk_that_fills_while_it_is_written_is_told(
    folder: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def __enter__(self) -> Any:
            self.stream = open("/dev/full", "wb", buffering=0)  # noqa: PTH123
            return self.stream

        def __exit__(self, *exception: object) -> None:
            self.stream.close()

    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *a, **k: Full() if ".npy." in self.name else real(self, *a, **k)
    )
    with pytest.raises(DataError, match=r"No space left.*--cache-dir") as caught:
        opened(folder)
    assert is_one_line(caught.value)
    assert decoded_files(cache_home) == []


def _open_in_another_process(folder: Path, answers: Any) -> None:
    answers.put(opened(folder).train.fingerprint)


def test_two_processes_may_decode_at_once(folder: Path, cache_home: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    both = [
        context.Process(target=_open_in_another_process, args=(folder, answers)) for _ in range(2)
    ]
    for process in both:
        process.start()
    found = {answers.get(timeout=120) for _ in both}
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert found == {opened(folder).train.fingerprint}
    assert len(decoded_files(cache_home)) == 1


def test_the_signal_in_the_low_bits_of_16_is_scaled_by_its_range(tmp_path: Path) -> None:
    """Twelve bits in sixteen: without the range, all would be nearly black."""
    for k, name in enumerate(("a", "b")):
        for i in range(N):
            image = noise(12, 12, dtype=np.uint16, seed=10 * k + i) // 16
            save(tmp_path / name / f"{i}.png", image.astype(np.uint16))
    dataset = opened(tmp_path)
    found = dataset.pixel_format(SIZE)
    train = dataset.train.at(SIZE)
    assert (found.low, found.high) == (train.min(), train.max())
    assert 0 < found.low < found.high < 4096


def test_a_constant_16_bit_split_has_a_range_that_can_be_divided_by(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(N):
            save(tmp_path / name / f"{i}.png", np.full((8, 8), 900, np.uint16))
    found = opened(tmp_path).pixel_format(SIZE)
    assert (found.low, found.high) == (900, 901)
