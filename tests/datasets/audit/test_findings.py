"""Every planted defect is finding, and a clean source has no findings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.data_factory import few_examples
from tests.datasets.audit.audit_factory import (
    SIDE,
    affected,
    clean,
    folder_of,
    opened,
    smooth,
    the_finding,
)
from tests.datasets.source_factory import noise, save
from tune_bio.datasets.audit.audit import audit_dataset, audit_source
from tune_bio.datasets.audit.defects import MAX_SIDE
from tune_bio.datasets.audit.findings import AffectedImage
from tune_bio.datasets.audit.patients import patients_across
from tune_bio.datasets.opening import open_arrays, open_dataset
from tune_bio.datasets.transforms.geometry import Geometry


def test_a_clean_source_has_no_findings(tmp_path: Path) -> None:
    audit = audit_dataset(opened(clean()))
    assert audit.findings == ()
    assert audit.leaks == audit.errors == ()
    assert audit.counts["val"] == {
        "ill": {"images": 40, "patients": 40},
        "well": {"images": 40, "patients": 40},
    }
    folder = folder_of(tmp_path, clean())
    folder_audit = audit_source(str(folder), patient_pattern=r"(\w+-patient\d+)").audit
    assert folder_audit.findings == ()
    assert folder_audit.counts == audit.counts


def test_a_patient_in_two_splits_of_the_source_is_a_leak() -> None:
    parts = clean()
    parts["test"][2][:2] = parts["train"][2][5]
    audit = audit_dataset(opened(parts))
    finding = the_finding(audit, "patients_across_splits")
    assert finding.severity == "error"
    assert affected(finding) == [{("train-patient5", "train"), ("train-patient5", "test")}]
    assert finding.counts == {"patients": 1, "images": 3, "of_patients": 278}
    assert audit.leaks == audit.errors == (finding,)


def test_a_patient_in_both_parts_of_a_cut_train_split_is_not_a_leak_of_the_source() -> None:
    """Validation is cut from train: a patient in test and in either part of train is a leak."""
    parts = clean()
    del parts["val"]
    parts["train"][2][:] = np.repeat([f"p{i}" for i in range(60)], 2)
    dataset = opened(parts)
    assert dataset.splits_from_train == ("val",)
    assert audit_dataset(dataset).of("patients_across_splits") is None
    in_val = str(dataset.val.patients[0])
    parts["test"][2][0] = in_val
    finding = the_finding(audit_dataset(opened(parts)), "patients_across_splits")
    assert affected(finding) == [{(in_val, "train"), (in_val, "test")}]


@few_examples
@given(
    st.lists(
        st.tuples(st.integers(0, 9).map(str), st.sampled_from(["train", "val", "test"])),
        max_size=30,
    )
)
def test_patients_across_splits_agree_with_a_plain_count(
    pairs: list[tuple[str, str]],
) -> None:
    expected = {p for p, s in pairs if any(q == p and t != s for q, t in pairs)}
    findings = patients_across(pairs)
    assert {group[0].name for finding in findings for group in finding.groups} == expected
    assert len(findings) == bool(expected)


def test_unknown_patients_are_reported() -> None:
    parts = {split: part[:2] for split, part in clean().items()}
    audit = audit_dataset(open_arrays(parts))
    assert [finding.kind for finding in audit.findings] == ["patients_unknown"]
    assert "patients" not in audit.counts["train"]["ill"]


def test_the_same_image_in_the_train_and_test_array_is_a_leak(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {}
    for split, (images, labels, _) in clean().items():
        arrays |= {f"{split}_images": images, f"{split}_labels": (labels == "ill").astype(int)}
    arrays["test_images"][6] = arrays["train_images"][4]
    np.savez(tmp_path / "data.npz", **arrays)
    audit = audit_source(str(tmp_path / "data.npz")).audit
    finding = the_finding(audit, "copies_across_splits")
    assert finding.severity == "error"
    assert affected(finding) == [{("train/000004", "train"), ("test/000006", "test")}]
    assert [leak.kind for leak in audit.leaks] == ["copies_across_splits"]


def test_copies_stay_together_when_a_split_is_cut() -> None:
    images, labels = noise(200, SIDE, SIDE), np.arange(200) % 2
    before = open_arrays(images, labels, np.arange(200))
    images = images.copy()
    images[int(before.test.rows[0])] = images[int(before.train.rows[0])]
    audit = audit_dataset(open_arrays(images, labels, np.arange(200)))
    assert audit.of("copies_across_splits") is None
    assert the_finding(audit, "copies_within_split").counts["images"] == 2


def test_copies_with_different_bytes_across_cut_splits_are_a_warning(tmp_path: Path) -> None:
    for i, image in enumerate(noise(60, SIDE, SIDE)):
        save(tmp_path / ("ill", "well")[i % 2] / f"{i}.png", image)
    before = open_dataset(str(tmp_path))
    copied, changed = str(before.train.names[0]), str(before.test.names[0])
    save(tmp_path / "resaved.bmp", np.asarray(Image.open(tmp_path / copied)))
    (tmp_path / "resaved.bmp").replace((tmp_path / changed).with_suffix(".bmp"))
    (tmp_path / changed).unlink()
    audit = audit_dataset(open_dataset(str(tmp_path)))
    finding = the_finding(audit, "copies_across_splits")
    assert finding.severity == "warning"
    assert audit.leaks == ()


def test_copies_within_a_split_and_their_different_labels_are_reported() -> None:
    parts = clean()
    images = parts["train"][0]
    images[10], images[20] = images[12], images[23]  # ill and ill, ill and well
    audit = audit_dataset(opened(parts))
    within = the_finding(audit, "copies_within_split")
    assert within.severity == "note"
    pairs = [{("train/000010", "train"), ("train/000012", "train")},
             {("train/000020", "train"), ("train/000023", "train")}]  # fmt: skip
    assert affected(within) == pairs
    differing = the_finding(audit, "copies_with_other_labels")
    assert differing.severity == "warning"
    assert affected(differing) == pairs[1:]
    assert [image.detail for image in differing.groups[0]] == ["ill", "well"]


def test_labels_of_test_images_are_not_reported() -> None:
    parts = clean()
    parts["test"][0][1] = parts["train"][0][0]  # well, a copy of ill
    parts["test"][0][4] = parts["test"][0][7]
    audit = audit_dataset(opened(parts))
    differing = the_finding(audit, "copies_with_other_labels")
    assert differing.counts == {"groups": 2, "groups_with_test_images": 2}
    assert differing.groups == ()
    sealed = [
        image
        for finding in audit.findings
        for group in finding.groups
        for image in group
        if image.split == "test"
    ]
    assert sealed
    assert {image.detail for image in sealed} == {""}


def test_copies_have_the_same_bytes_or_only_the_same_pixels(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, clean())
    ill = folder / "train" / "ill"
    copied = (ill / "train-patient0.png").read_bytes()
    (folder / "val" / "ill" / "renamed.png").write_bytes(copied)
    save(folder / "test" / "well" / "resaved.bmp", clean()["train"][0][3])
    finding = the_finding(audit_source(str(folder)).audit, "copies_across_splits")
    assert affected(finding) == [
        {("train/ill/train-patient0.png", "train"), ("val/ill/renamed.png", "val")},
        {("train/well/train-patient3.png", "train"), ("test/well/resaved.bmp", "test")},
    ]
    assert finding.counts == {"groups": 2, "images": 4, "groups_byte_for_byte": 1}


def test_near_copies_are_found_across_splits_and_within_one() -> None:
    parts = clean()
    pixels = smooth(280, 64, seed=3)
    ends = np.cumsum([len(part[0]) for part in parts.values()])
    images = dict(zip(parts, np.split(pixels, ends[:-1]), strict=True))
    softer = np.clip(images["train"][:2] * 0.97 + 3, 0, 255).astype(np.uint8)
    images["val"][9], images["train"][50] = softer
    planted = {split: (images[split], *part[1:]) for split, part in parts.items()}
    audit = audit_dataset(opened(planted))
    across = the_finding(audit, "near_copies_across_splits")
    assert across.severity == "warning"
    assert affected(across) == [{("train/000000", "train"), ("val/000009", "val")}]
    within = the_finding(audit, "near_copies_within_split")
    assert within.severity == "note"
    assert affected(within) == [{("train/000001", "train"), ("train/000050", "train")}]
    assert audit.leaks == ()
    assert audit.of("copies_across_splits") is None


def test_near_copies_of_one_patient_across_splits_are_reported_only_as_a_leak() -> None:
    parts = clean()
    near = parts["train"][0][0].copy()
    near[0, 0] ^= 3
    parts["val"][0][0] = near
    assert audit_dataset(opened(parts)).of("near_copies_across_splits") is not None
    parts["val"][2][0] = parts["train"][2][0]
    audit = audit_dataset(opened(parts))
    assert audit.of("near_copies_across_splits") is None
    assert the_finding(audit, "patients_across_splits").counts["patients"] == 1


def test_a_class_shift_between_splits_is_found() -> None:
    parts = clean()
    parts["val"][1][:60] = "ill"
    finding = the_finding(audit_dataset(opened(parts)), "class_shift")
    assert finding.severity == "warning"
    # 60 ill of 120, 70 of 80 and 40 of 80: computed with the textbook formula.
    table = np.array([[60, 60], [70, 10], [40, 40]])
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    chi2 = ((table - expected) ** 2 / expected).sum()
    assert finding.counts["cramers_v"] == pytest.approx(np.sqrt(chi2 / table.sum()))
    assert finding.counts["p"] == pytest.approx(np.exp(-chi2 / 2))  # two degrees of freedom


def test_a_rare_class_is_found() -> None:
    parts = clean()
    for split, (_, labels, _) in parts.items():
        labels[:] = "well"
        labels[: {"train": 10, "val": 31, "test": 31}[split]] = "ill"
    finding = the_finding(audit_dataset(opened(parts)), "class_imbalance")
    assert finding.counts == {"ill": 10}


def test_few_validation_patients_are_found() -> None:
    parts = clean()
    images, labels, patients = (array[:58] for array in parts["val"])
    parts["val"] = (images, labels, patients)
    finding = the_finding(audit_dataset(opened(parts)), "few_validation_patients")
    assert finding.severity == "warning"
    assert finding.counts == {"ill": 29, "well": 29}
    parts["val"] = tuple(array[:60] for array in clean()["val"])  # type: ignore[assignment]
    assert audit_dataset(opened(parts)).findings == ()
    parts["val"][2][:4] = "one patient"
    assert the_finding(audit_dataset(opened(parts)), "few_validation_patients").counts == {
        "ill": 29,
        "well": 29,
    }


def test_constant_images_are_reported_and_not_as_copies_of_each_other() -> None:
    parts = clean()
    for split in parts:
        parts[split][0][3] = 77
    audit = audit_dataset(opened(parts))
    assert [finding.kind for finding in audit.findings] == ["constant"]
    finding = the_finding(audit, "constant")
    assert finding.counts == {"images": 3, "train": 1, "val": 1, "test": 1}
    assert affected(finding)[0] == {("train/000003", "train")}


@pytest.mark.parametrize("defect", ["truncated", "not an image"])
def test_unreadable_files_are_reported_and_left_out(tmp_path: Path, defect: str) -> None:
    folder = folder_of(tmp_path, clean())
    bad = folder / "val" / "ill" / "bad.png"
    whole = (folder / "val" / "ill" / "val-patient0.png").read_bytes()
    bad.write_bytes(whole[: len(whole) // 2] if defect == "truncated" else b"not an image")
    (folder / "train" / "ill" / "empty.png").write_bytes(b"")
    audited = audit_source(str(folder), patient_pattern=r"(\w+-patient\d+)")
    finding = the_finding(audited.audit, "unreadable")
    assert finding.severity == "error"
    assert affected(finding) == [{("train/ill/empty.png", "train")}, {("val/ill/bad.png", "val")}]
    assert all(group[0].detail.startswith("cannot be read") for group in finding.groups)
    assert audited.audit.errors == (finding,)
    assert audited.audit.leaks == ()
    assert sum(map(len, audited.dataset.splits.values())) == 280


def test_mixed_sizes_depths_and_colours_are_found(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, clean())
    save(folder / "train" / "ill" / "deep.png", noise(SIDE, SIDE, dtype=np.uint16, seed=91))
    save(folder / "train" / "well" / "colour.png", noise(SIDE, SIDE, 3, seed=92))
    save(folder / "val" / "well" / "wide.png", noise(SIDE, SIDE + 9, seed=93))
    audit = audit_source(str(folder)).audit
    mixed = {f.kind: f for f in audit.findings if f.kind.startswith("mixed")}
    assert mixed.keys() == {"mixed_sizes", "mixed_depths", "mixed_colour"}
    assert mixed["mixed_sizes"].counts == {"sizes": 2, "shortest": SIDE, "longest": SIDE + 9}
    assert mixed["mixed_depths"].counts == {"8 bits": 282, "16 bits": 1}
    assert affected(mixed["mixed_depths"]) == [{("train/ill/deep.png", "train")}]
    assert affected(mixed["mixed_colour"]) == [{("train/well/colour.png", "train")}]
    assert {finding.severity for finding in mixed.values()} == {"note"}


def test_oversized_images_are_found(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, clean())
    save(folder / "test" / "ill" / "slide.png", noise(10, MAX_SIDE + 1, seed=94))
    save(folder / "val" / "ill" / "montage.png", noise(SIDE, 4 * SIDE + 1, seed=95))
    save(folder / "val" / "ill" / "long.png", noise(SIDE, 4 * SIDE, seed=96))
    finding = the_finding(audit_source(str(folder)).audit, "oversized")
    assert finding.counts == {"images": 2, "longest": MAX_SIDE + 1, "val": 1, "test": 1}
    assert affected(finding) == [
        {("val/ill/montage.png", "val")},
        {("test/ill/slide.png", "test")},
    ]


def test_findings_are_sorted_by_severity_and_round_trip_through_json() -> None:
    parts = clean()
    parts["train"][0][0] = 0
    parts["train"][0][1] = parts["train"][0][2]
    parts["val"][0][:5] = parts["train"][0][10:15]
    audit = audit_dataset(
        opened(parts), unreadable=[AffectedImage("x.png", "train", "no known format")]
    )
    severities = [finding.severity for finding in audit.findings]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert set(severities) == {"error", "warning", "note"}
    written = json.loads(json.dumps(audit.to_json(max_groups=2)))
    assert written == audit.to_json(max_groups=2)
    assert [entry["kind"] for entry in written["findings"]] == [f.kind for f in audit.findings]
    copies = next(e for e in written["findings"] if e["kind"] == "copies_across_splits")
    assert len(copies["concerned"]) == 2
    assert copies["counts"]["groups"] == 5
    assert copies["concerned"][0][1] == {"name": "val/000000", "split": "val", "detail": "ill"}


def test_an_open_data_set_is_audited_at_a_requested_geometry(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, clean())
    save(folder / "test" / "well" / "copy.bmp", clean()["train"][0][0])
    geometry = Geometry(16)
    dataset = open_dataset(str(folder), geometries=lambda size: [geometry])
    audit = audit_dataset(dataset, geometry=geometry)
    assert the_finding(audit, "copies_across_splits").counts["groups"] == 1
    assert audit.method["geometry"]["image_size"] == 16
