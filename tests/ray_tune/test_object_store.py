"""Shared inputs: trials map files, or read from the object store on other nodes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import ray

from tune_bio.datasets.feature_arrays import FeatureCut
from tune_bio.errors import DataError
from tune_bio.ray_tune.object_store import SharedFeatures
from tune_bio.reuse.feature_store import FeatureFiles, FeatureStore

CUT = FeatureCut(("backbone",), ((8,),), (3, 32, 32), channels_last=False)
TRAIN, VAL = np.ones((6, 8), np.float32), np.zeros((4, 8), np.float32)


@pytest.fixture
def files(tmp_path: Path) -> FeatureFiles:
    store = FeatureStore(tmp_path)
    with store.writing("0" * 64, CUT, {"train": 6, "val": 4}, "float32") as write:
        write("train", 0, TRAIN)
        write("val", 0, VAL)
    return store.at("0" * 64, CUT)


def test_features_are_mapped_if_the_file_is_visible(cluster: None, files: FeatureFiles) -> None:
    stored = ray.put((TRAIN + 1, VAL + 1))
    train, val = SharedFeatures(files, stored).read()
    assert isinstance(train, np.memmap)
    np.testing.assert_array_equal(train, TRAIN)
    np.testing.assert_array_equal(val, VAL)


@pytest.mark.parametrize("folder_exists", [False, True], ids=["no folder", "an empty folder"])
def test_another_node_reads_features_from_the_object_store(
    cluster: None, files: FeatureFiles, folder_exists: bool
) -> None:
    shutil.rmtree(files.folder)
    if folder_exists:
        files.folder.mkdir()
    train, val = SharedFeatures(files, ray.put((TRAIN, VAL))).read()
    np.testing.assert_array_equal(train, TRAIN)
    np.testing.assert_array_equal(val, VAL)


def test_missing_features_are_reported_in_one_line(files: FeatureFiles) -> None:
    shutil.rmtree(files.folder)
    with pytest.raises(DataError, match="start the study again"):
        SharedFeatures(files).read()
