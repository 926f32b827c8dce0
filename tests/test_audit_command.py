"""The audit command: exit status, output, files and refusals."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.datasets.audit.audit_factory import clean, folder_of, smooth
from tests.datasets.source_factory import noise, save
from tune_bio.audit import main
from tune_bio.datasets.audit import contact_sheet

N = 5_856  # images of the published chest X-ray set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "images", clean())


PATTERN = ("--patient-pattern", r"(\w+-patient\d+)")


def _run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def split_by_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with file names in both schemes of the published set, split by image."""
    root = tmp_path_factory.mktemp("chest_xray")
    rng = np.random.default_rng(0)
    image = root / "one.png"
    save(image, noise(8, 8))
    data = image.read_bytes()
    image.unlink()
    for k in range(N):
        if k % 4 == 0:
            prefix = "NORMAL2-" if k % 8 == 0 else ""
            name, label = f"{prefix}IM-{k // 3:04d}-{k % 3:04d}.jpeg", "NORMAL"
        else:
            kind = "virus" if k % 3 == 0 else "bacteria"
            name, label = f"person{k // 3}_{kind}_{k}.jpeg", "PNEUMONIA"
        split = rng.choice(["train", "val", "test"], p=[0.7, 0.1, 0.2])
        path = root / split / label / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def test_patients_split_by_image_are_found_from_file_names(
    split_by_image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(split_by_image, "--names-only") == 1
    output = capsys.readouterr()
    assert "patients of" in output.out
    assert "with images in more than one split" in " ".join(output.out.split())
    assert output.err == ""


def test_findings_in_the_names_are_printed_before_images_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val"):
        save(folder / split / "ill" / f"{split}-patient500.png", noise(24, 24, seed=len(split)))
    for path in folder.rglob("*.png"):
        path.rename(path.with_name(path.name.replace(path.parts[-3] + "-", "")))
    assert _run(folder, "--patient-pattern", r"(patient\d+)") == 1
    output = " ".join(capsys.readouterr().out.split())
    early, _, rest = output.partition("audit of")
    assert "findings in the file names" in early
    assert "with images in more than one split" in early
    assert "with images in more than one split" in rest
    assert "1 error: a search would stop here" in rest


def test_a_clean_source_has_no_findings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(folder, *PATTERN) == 0
    output = capsys.readouterr()
    assert "nothing found" in output.out
    assert output.err == ""
    assert _run(folder, *PATTERN, "--names-only") == 0
    assert "no patient is in more than one split" in capsys.readouterr().out


def test_warnings_do_not_stop_a_search(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(folder) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "patients are unknown" in output
    assert "nothing that would stop a search" in output


def test_json_and_contact_sheet_are_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(folder / "val" / "ill" / "[copy].png", clean()["train"][0][0])
    (folder / "test" / "ill" / "bad.png").write_bytes(b"")
    json_path, sheet_path = tmp_path / "audit.json", tmp_path / "audit.png"
    assert _run(folder, "--json", json_path, "--sheet", sheet_path) == 1
    assert "[copy].png" in capsys.readouterr().out, "names must not be read as markup"
    audit = json.loads(json_path.read_text())
    assert {finding["kind"]: finding["severity"] for finding in audit["findings"]} == {
        "copies_across_splits": "error",
        "unreadable": "error",
        "patients_unknown": "warning",
    }
    assert audit["counts"]["val"]["ill"] == {"images": 41}
    assert audit["findings"][0]["concerned"] == [
        [
            {"name": "train/ill/train-patient0.png", "split": "train", "detail": "ill"},
            {"name": "val/ill/[copy].png", "split": "val", "detail": "ill"},
        ]
    ]
    with Image.open(sheet_path) as image:
        assert image.format == "PNG"
        assert np.asarray(image.convert("L")).std() > 10
    assert not list(tmp_path.glob(".*")), "no temporary file is left"


def test_an_empty_contact_sheet_is_not_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(folder, *PATTERN, "--sheet", tmp_path / "audit.png") == 0
    assert "no contact sheet is written" in capsys.readouterr().out
    assert not (tmp_path / "audit.png").exists()


def test_test_images_are_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = clean()
    images = np.split(smooth(280, 24, seed=4), [120, 200])
    images[2][:3] = images[0][:3]  # copies between train and test
    images[2][10] = images[2][11]  # and within test
    arrays: dict[str, Any] = {}
    for (split, part), pixels in zip(parts.items(), images, strict=True):
        arrays |= {f"{split}_images": pixels, f"{split}_labels": (part[1] == "ill").astype(int)}
    np.savez(tmp_path / "data.npz", **arrays)
    shown: list[str] = []
    pixels_by_name = contact_sheet._pixels_by_name

    def watched(*arguments: Any) -> Any:
        result = pixels_by_name(*arguments)
        shown.extend(result)
        return result

    monkeypatch.setattr(contact_sheet, "_pixels_by_name", watched)
    assert _run(tmp_path / "data.npz", "--sheet", tmp_path / "sheet.png") == 1
    assert shown == ["train/000000", "train/000001", "train/000002"]
    assert (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: SOURCE"),
        (("/no/such/folder",), "does not exist"),
        (("phantom", "--seed", "-1"), "seed=-1 is not possible"),
        (("phantom", "--positive-class", "sick"), "negative, positive"),
        (("phantom", "--patient-pattern", "x"), "has no file names"),
        (("phantom", "--names-only"), "not a folder of image files"),
        (("phantom", "--json", "/no/such/folder/audit.json"), "folder that you may write to"),
        (("phantom", "--sheet", "/"), "is a folder"),
        (("phantom", "--cash-dir", "x"), "unrecognized arguments"),
    ],
)
def test_bad_input_is_reported_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert message in output.err


def test_a_folder_of_only_unreadable_images_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ill", "well"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"not an image")
    assert _run(tmp_path) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_command_runs_as_a_module(folder: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "tune_bio.audit", str(folder), *PATTERN, "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
