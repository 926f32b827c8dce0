"""The audit of real radiographs, with planted defects."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.datasets.audit.audit_factory import affected, the_finding
from tune_bio.datasets.audit.audit import audit_dataset, audit_source
from tune_bio.datasets.opening import open_dataset, split_collection
from tune_bio.datasets.sources.collection import OpenOptions
from tune_bio.datasets.sources.image_folder import read_folder
from tune_bio.datasets.sources.patients import patients_from_names
from tune_bio.datasets.transforms.geometry import Geometry

pytestmark = pytest.mark.real_data
PER_CLASS = 240  # radiographs


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the chest X-rays, split by patient."""
    root = tmp_path_factory.mktemp("radiographs")
    source = Path(os.environ["TUNE_BIO_REAL_DATA"]) / "chest_xray"
    for name in ("NORMAL", "PNEUMONIA"):
        files = sorted((source / name).iterdir())[:PER_CLASS]
        patients = patients_from_names([path.name for path in files], None).per_image
        for path, patient in zip(files, patients, strict=True):
            split = ("train", "train", "val", "test")[sum(patient.encode()) % 4]
            (root / split / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / split / name)
    return root


@pytest.fixture
def folder(radiographs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(radiographs, tmp_path / "images"))


def test_no_patient_is_in_two_splits_for_any_seed(real_data: Path) -> None:
    opening = OpenOptions(lambda size: [Geometry(8)])
    collection = read_folder(real_data / "chest_xray", opening)
    splits = set()
    for seed in range(25):
        dataset = split_collection(collection, seed, None)
        patients = [set(images.patients.tolist()) for images in dataset.splits.values()]
        assert sum(map(len, patients)) == len(set.union(*patients)) == 901
        assert audit_dataset(dataset, geometry=Geometry(8)).of("patients_across_splits") is None
        splits.add(frozenset(patients[1]))
    assert len(splits) == 25


def test_the_whole_set_has_four_exact_copies_and_no_near_copies(real_data: Path) -> None:
    audit = audit_source(str(real_data / "chest_xray")).audit
    assert [finding.kind for finding in audit.findings] == ["copies_within_split"]
    assert audit.findings[0].counts == {"groups": 4, "images": 8, "groups_byte_for_byte": 4}


def test_radiographs_of_different_patients_are_not_near_copies(radiographs: Path) -> None:
    audit = audit_source(str(radiographs)).audit
    assert audit.errors == ()
    assert audit.of("near_copies_across_splits") is None
    assert audit.of("near_copies_within_split") is None


def test_planted_copies_and_a_truncated_file_are_found(folder: Path) -> None:
    normal = sorted((folder / "train" / "NORMAL").iterdir())
    sick = sorted((folder / "train" / "PNEUMONIA").iterdir())
    shutil.copy(normal[0], folder / "test" / "NORMAL" / "IM-9001-0001.jpeg")
    with Image.open(sick[0]) as image:
        smaller = image.resize((round(0.9 * image.width), round(0.95 * image.height)))
        smaller.save(folder / "val" / "PNEUMONIA" / "person9002_virus_1.jpeg", quality=70)
    whole = normal[1].read_bytes()
    normal[1].write_bytes(whole[: len(whole) * 2 // 3])
    audit = audit_source(str(folder)).audit
    assert affected(the_finding(audit, "copies_across_splits")) == [
        {(f"train/NORMAL/{normal[0].name}", "train"), ("test/NORMAL/IM-9001-0001.jpeg", "test")}
    ]
    assert affected(the_finding(audit, "near_copies_across_splits")) == [
        {
            (f"train/PNEUMONIA/{sick[0].name}", "train"),
            ("val/PNEUMONIA/person9002_virus_1.jpeg", "val"),
        }
    ]
    unreadable = the_finding(audit, "unreadable")
    assert affected(unreadable) == [{(f"train/NORMAL/{normal[1].name}", "train")}]
    assert "truncated" in unreadable.groups[0][0].detail
    assert {finding.kind for finding in audit.errors} == {"copies_across_splits", "unreadable"}


def test_published_arrays_hold_copies_across_splits(real_data: Path) -> None:
    """The audit agrees with a comparison of all bytes."""
    path = real_data / "pneumoniamnist_dev.npz"
    dataset = open_dataset(str(path))
    splits_by_bytes: dict[bytes, set[str]] = {}
    with np.load(path) as arrays:
        for split in dataset.splits:
            for image in arrays[f"{split}_images"]:
                splits_by_bytes.setdefault(image.tobytes(), set()).add(split)
    expected = sum(len(splits) > 1 for splits in splits_by_bytes.values())
    finding = the_finding(audit_dataset(dataset), "copies_across_splits")
    assert finding.counts["groups"] == expected > 0
