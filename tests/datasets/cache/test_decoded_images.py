"""The cache of decoded images: no image is decoded twice, and no stale pixels are returned."""

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
N = 5  # images per class


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k, name in enumerate(("a", "b")):
        for i in range(N):
            save(tmp_path / "data" / name / f"{i}.png", noise(12, 10, seed=100 * k + i))
    return tmp_path / "data"


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The numbers of files decoded, and of files read to detect changes."""
    calls = {"decoded": 0, "scanned": 0}

    def counting(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            calls[name] += 1
            return work(*arguments)

        return counted

    monkeypatch.setattr(file_source, "decode", counting("decoded", file_source.decode))
    monkeypatch.setattr(file_index, "read_header", counting("scanned", file_index.read_header))
    monkeypatch.setattr(file_index, "SETTLED_NS", 0)  # the files are brand new
    return calls


def opened(folder: Path, *geometries: Geometry) -> Any:
    requested = geometries or (SIZE,)
    return open_dataset(str(folder), geometries=lambda size: requested)


def pixels(folder: Path) -> Any:
    """Open a folder and return every image by name."""
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


def test_all_geometries_are_decoded_in_one_pass_and_later_only_new_ones(
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
    separate = open_dataset(
        str(folder), geometries=lambda size: [Geometry(8)], cache_dir=tmp_path / "other"
    )
    assert np.array_equal(together, separate.train.at(Geometry(8)))


def test_a_changed_file_of_the_same_size_is_noticed(folder: Path, counts: dict[str, int]) -> None:
    first = pixels(folder)
    path = folder / "a" / "3.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    changed = pixels(folder)
    assert {name for name in first if changed[name] != first[name]} == {"a/3.png"}
    assert counts["scanned"] == 2 * N + 1


def test_a_touched_file_is_read_again_but_not_decoded(folder: Path, counts: dict[str, int]) -> None:
    first = pixels(folder)
    os.utime(folder / "a" / "3.png", (1, 1))
    assert pixels(folder) == first
    assert counts == {"decoded": 2 * N, "scanned": 2 * N + 1}


def test_a_file_that_has_just_changed_is_read_again(
    folder: Path, counts: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_index, "SETTLED_NS", 3600 * 10**9)
    opened(folder)
    opened(folder)
    assert counts == {"decoded": 2 * N, "scanned": 4 * N}


def test_added_removed_and_renamed_files_are_noticed(folder: Path) -> None:
    opened(folder)
    save(folder / "a" / "9.png", noise(12, 10, seed=9))
    (folder / "b" / "0.png").unlink()
    (folder / "b" / "1.png").rename(folder / "b" / "7.png")
    images = pixels(folder)
    assert len(images) == 2 * N
    for name, image in images.items():
        original = np.asarray(Image.open(folder / name))[None, ..., None]
        assert np.array_equal(SIZE.apply(original)[0], image)


def test_a_moved_folder_is_recognised_by_its_content(
    folder: Path, counts: dict[str, int], tmp_path: Path
) -> None:
    opened(folder)
    folder.rename(tmp_path / "moved")
    opened(tmp_path / "moved")
    assert counts == {"decoded": 2 * N, "scanned": 4 * N}


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _replace_with_text(path: Path) -> None:
    path.write_text("hello")


def _replace_with_another_shape(path: Path) -> None:
    np.save(path, noise(3, 8, 8, 1))


def _replace_with_another_dtype(path: Path) -> None:
    np.save(path, np.load(path).astype(np.uint16))


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _replace_with_text,
        _replace_with_another_shape,
        _replace_with_another_dtype,
        Path.unlink,
    ],
)
def test_a_damaged_cache_is_rebuilt(
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
def test_a_damaged_index_is_rebuilt(
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
def test_images_decoded_by_other_versions_are_not_used(
    folder: Path, counts: dict[str, int], monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    split_key = opened(folder).train._key(SIZE)
    monkeypatch.setattr(f"tune_bio.datasets.decoding.versions.{changed}", "another")
    assert opened(folder).train._key(SIZE) != split_key
    assert counts["decoded"] == 4 * N


def test_a_file_that_changes_between_reading_and_decoding_is_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def geometries(size: int) -> Sequence[Geometry]:
        save(folder / "a" / "3.png", noise(12, 10, seed=77))
        return [SIZE]

    with pytest.raises(DataError, match=r"3\.png changed while") as caught:
        open_dataset(str(folder), geometries=geometries)
    assert is_one_line(caught.value)


def test_progress_is_reported_for_every_image_read_and_decoded(folder: Path) -> None:
    reports: list[tuple[int, int]] = []
    open_dataset(str(folder), progress=lambda done, total: reports.append((done, total)))
    assert reports == [(k, 2 * N) for k in range(1, 2 * N + 1)] * 2


def test_a_late_colour_image_makes_the_source_colour(folder: Path, cache_home: Path) -> None:
    """The first images are grey but stored as colour, so the source looks grey at first."""
    for i in range(N):
        path = folder / "a" / f"{i}.png"
        Image.open(path).convert("RGB").save(path)
    assert opened(folder).channels == 1
    save(folder / "b" / "4.png", noise(12, 10, 3))
    dataset = opened(folder)
    assert dataset.channels == 3
    assert dataset.train.at(SIZE).shape[3] == 3


def test_the_cache_holds_only_images_at_the_geometry(folder: Path, cache_home: Path) -> None:
    opened(folder)
    size = sum(path.stat().st_size for path in (cache_home / "decoded").iterdir())
    assert size <= 2 * N * 8 * 8 + 256


def _a_file(path: Path) -> Path:
    path.write_text("a file")
    return path


def _not_writable(path: Path) -> Path:
    return Path("/proc/tune_bio")


@pytest.mark.parametrize("spoil", [_a_file, _not_writable])
def test_a_cache_that_cannot_be_written_is_reported_with_the_flag(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], Path]
) -> None:
    with pytest.raises(DataError, match=r"cannot be written.*--cache-dir") as caught:
        open_dataset(str(folder), cache_dir=spoil(tmp_path / "cache"))
    assert is_one_line(caught.value)


def test_a_full_disk_is_reported_with_the_flag_and_leaves_no_file(
    folder: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk:
        free = 100

    monkeypatch.setattr(arrays.psutil, "disk_usage", lambda path: FullDisk)
    with pytest.raises(DataError, match=r"more than the free space.*--cache-dir") as caught:
        opened(folder)
    assert is_one_line(caught.value)
    assert decoded_files(cache_home) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_disk_that_fills_up_while_writing_is_reported(
    folder: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDevice:
        def __enter__(self) -> Any:
            self.stream = open("/dev/full", "wb", buffering=0)  # noqa: PTH123
            return self.stream

        def __exit__(self, *exception: object) -> None:
            self.stream.close()

    real_open = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda self, *a, **k: FullDevice() if ".npy." in self.name else real_open(self, *a, **k),
    )
    with pytest.raises(DataError, match=r"No space left.*--cache-dir") as caught:
        opened(folder)
    assert is_one_line(caught.value)
    assert decoded_files(cache_home) == []


def _open_in_another_process(folder: Path, answers: Any) -> None:
    answers.put(opened(folder).train.fingerprint)


def test_two_processes_can_decode_at_the_same_time(folder: Path, cache_home: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = [
        context.Process(target=_open_in_another_process, args=(folder, answers)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    fingerprints = {answers.get(timeout=120) for _ in processes}
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert fingerprints == {opened(folder).train.fingerprint}
    assert len(decoded_files(cache_home)) == 1


def test_a_12_bit_signal_in_16_bit_images_is_scaled_by_its_range(tmp_path: Path) -> None:
    """Scaled by the full 16-bit range, all images would be nearly black."""
    for k, name in enumerate(("a", "b")):
        for i in range(N):
            image = noise(12, 12, dtype=np.uint16, seed=10 * k + i) // 16
            save(tmp_path / name / f"{i}.png", image.astype(np.uint16))
    dataset = opened(tmp_path)
    pixel_format = dataset.pixel_format(SIZE)
    train = dataset.train.at(SIZE)
    assert (pixel_format.low, pixel_format.high) == (train.min(), train.max())
    assert 0 < pixel_format.low < pixel_format.high < 4096


def test_a_constant_16_bit_split_has_a_range_greater_than_zero(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(N):
            save(tmp_path / name / f"{i}.png", np.full((8, 8), 900, np.uint16))
    pixel_format = opened(tmp_path).pixel_format(SIZE)
    assert (pixel_format.low, pixel_format.high) == (900, 901)
