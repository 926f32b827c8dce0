"""The order in which checkpoints are removed when they take too much disk space."""

import os
from pathlib import Path

from tune_bio.reuse.checkpoint_cleanup import remove_checkpoints, remove_provisional, used_bytes
from tune_bio.reuse.prefixes import CHECKPOINTS


def _make(study: Path, key: str, trial: str, epochs: tuple[int, ...], age: int) -> Path:
    folder = study / CHECKPOINTS / key
    for epoch in epochs:
        (folder / str(epoch)).mkdir(parents=True)
        for name in ("optimizer", "last", "best"):
            (folder / str(epoch) / f"{name}.safetensors").write_bytes(b"x" * 1000)
        (folder / str(epoch) / "state.json").write_bytes(b"x" * 10)
    (folder / f"of-{trial}").touch()
    os.utime(folder, (1e9 - age, 1e9 - age))
    return folder


def _remaining_files(study: Path) -> list[str]:
    files = (study / CHECKPOINTS).glob("*/*/*.safetensors")
    return sorted(f"{p.parent.parent.name}{p.parent.name}.{p.stem[0]}" for p in files)


def test_a_file_with_several_hard_links_counts_once(tmp_path: Path) -> None:
    folder = _make(tmp_path, "a", "t0", (1,), age=0)
    (folder / "2").mkdir()
    os.link(folder / "1" / "best.safetensors", folder / "2" / "best.safetensors")
    assert used_bytes(tmp_path) == 3010


def test_within_the_limit_nothing_is_removed(tmp_path: Path) -> None:
    _make(tmp_path, "a", "t0", (1, 3), age=0)
    assert remove_checkpoints(tmp_path, 7000, running=[], best=[]) == 6020
    assert len(_remaining_files(tmp_path)) == 6


def test_rungs_are_removed_first_then_old_optimizers_then_weights(tmp_path: Path) -> None:
    for key, trial, age in (("a", "t0", 3), ("b", "t1", 2), ("c", "t2", 1)):
        _make(tmp_path, key, trial, (1, 3), age)

    def after(limit: int) -> list[str]:
        remaining_bytes = remove_checkpoints(tmp_path, limit, running=["t2"], best=["t0"])
        assert remaining_bytes == used_bytes(tmp_path)
        return _remaining_files(tmp_path)

    files = set(_remaining_files(tmp_path))
    assert files - set(after(17_500)) == {"a1.o"}
    assert files - set(after(12_500)) == {"a1.l", "a1.o", "b1.l", "b1.o", "c1.l", "c1.o"}
    assert after(8_500) == ["a1.b", "a3.b", "b1.b", "b3.b", "c1.b", "c3.b", "c3.l", "c3.o"]
    assert after(0) == ["a1.b", "a3.b", "c1.b", "c3.b", "c3.l", "c3.o"]


def test_unfinished_checkpoints_are_removed(tmp_path: Path) -> None:
    folder = _make(tmp_path, "a", "t0", (1,), age=0)
    (folder / ".2.77.tmp").mkdir()
    remove_provisional(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["1", "of-t0"]
