"""A search from a program, and the evaluation of its model on other images."""

import hashlib
import inspect
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

import tune_bio
from tests.data_factory import is_one_line
from tune_bio import SearchSettings, Trial
from tune_bio.api import SearchResult
from tune_bio.errors import ConfigError, DataError, InputError, SpaceError

SETTINGS = SearchSettings(num_trials=3, max_epochs=3, scheduler="none", finalists=0, controls=False)


def small_nets(trial: Trial) -> None:
    """Which small network?"""
    trial.suggest_categorical("model", ["cnn", "ann"])
    trial.suggest_float("lr", 1e-3, 1e-2, log=True)


def arrays(classes: int = 2, seed: int = 0, n: int = 120) -> tuple[Any, Any, Any]:
    """Return images with a bright stripe by class, labels, and patients with two images each."""
    rng = np.random.default_rng(seed)
    patients = np.arange(n) // 2
    labels = patients % classes
    images = rng.integers(0, 120, (n, 16, 16))
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 2] += 60
    return images.astype(np.uint8), labels, patients


@pytest.fixture(scope="module")
def searched(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that runs a search on arrays with a number of classes, once per module."""
    results: dict[int, SearchResult] = {}

    def run(classes: int) -> SearchResult:
        if classes not in results:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # those of Ray and Tune
                results[classes] = tune_bio.run_search(
                    small_nets,
                    SETTINGS,
                    data=arrays(classes),
                    classes=[f"kind{k}" for k in range(classes)],
                    pins={"batch_size": 16},
                    results=tmp_path_factory.mktemp("results"),
                    quiet=True,
                )
        return results[classes]

    return run


@pytest.mark.parametrize("classes", [2, 6])
def test_a_search_over_arrays_writes_the_same_files_as_the_command(
    searched: Any, classes: int
) -> None:
    result = searched(classes)
    assert result.folder.name == "small_nets"
    assert result.trials["status"].tolist() == ["completed"] * 3
    assert (result.trials["params.batch_size"] == 16).all()
    assert len(result.epochs) == 9
    assert result.best.classes == tuple(f"kind{k}" for k in range(classes))
    assert (result.folder / "figures" / "learning_curves.png").is_file()
    assert "is best, with a validation AUROC" in (result.folder / "report.html").read_text()
    images, labels, _ = arrays(classes)
    # AUROC, not accuracy: the best epoch was selected by its ranking, not at the threshold 0.5.
    p = result.best.predict(images)
    assert sk.roc_auc_score(labels, p[:, 1] if classes == 2 else p, multi_class="ovr") > 0.9


@pytest.mark.parametrize("classes", [2, 6])
def test_the_recorded_scores_equal_those_of_scikit_learn_on_the_stored_predictions(
    searched: Any, classes: int
) -> None:
    result = searched(classes)
    stored = result.predictions
    assert sorted(stored["trial"].unique()) == ["t0000", "t0001", "t0002"]
    for trial, rows in stored.groupby("trial"):
        p = rows[[f"p_kind{k}" for k in range(classes)]].to_numpy(np.float64)
        p = p / p.sum(axis=1, keepdims=True)
        labels, predicted = rows["label"].to_numpy(), p.argmax(axis=1)
        best = result.trials.set_index("trial_id").loc[trial, "best_epoch"]
        at_best = result.epochs.set_index(["trial_id", "epoch"]).loc[(trial, best)]
        auroc = (
            sk.roc_auc_score(labels, p[:, 1])
            if classes == 2
            else sk.roc_auc_score(labels, p, multi_class="ovr", average="macro")
        )
        assert at_best["val_auroc"] == pytest.approx(auroc, abs=1e-6)
        assert at_best["val_macro_f1"] == pytest.approx(
            sk.f1_score(labels, predicted, average="macro")
        )
        balanced = sk.balanced_accuracy_score(labels, predicted)
        assert at_best["val_balanced_accuracy"] == pytest.approx(balanced)
        assert at_best["val_accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
        assert at_best["val_loss"] == pytest.approx(sk.log_loss(labels, p), rel=1e-4)


@pytest.mark.parametrize("classes", [2, 6])
def test_a_model_is_evaluated_on_another_data_set(searched: Any, classes: int) -> None:
    result = searched(classes)
    images, labels, patients = arrays(classes, seed=7)
    evaluation = tune_bio.evaluate(result.folder, (images, labels, patients))
    p = result.best.predict(images)
    metrics = evaluation.metrics
    assert metrics["accuracy"] == sk.accuracy_score(labels, p.argmax(axis=1))
    assert set(metrics) == {"loss", "accuracy", "balanced_accuracy", "macro_f1", "auroc"}
    table = evaluation.predictions
    assert isinstance(table, pd.DataFrame)
    assert table["label"].tolist() == labels.tolist()
    assert table["patient"].tolist() == patients.astype(str).tolist()
    columns = [f"p_kind{k}" for k in range(classes)]
    np.testing.assert_allclose(table[columns].to_numpy(), p, atol=1e-7)


def test_classes_in_another_order_are_matched_by_name(searched: Any, tmp_path: Path) -> None:
    images, labels, patients = arrays(2, seed=7)
    names = np.array(["kind0", "kind1"])[labels]
    by_number = tune_bio.evaluate(searched(2).folder, (images, labels, patients))
    by_name = tune_bio.evaluate(searched(2).folder, (images, names, patients))
    np.savez(tmp_path / "other.npz", train_images=images, train_labels=1 - labels)
    flipped = tune_bio.evaluate(
        searched(2).folder, tmp_path / "other.npz", classes=["kind1", "kind0"]
    )
    assert by_number.metrics == by_name.metrics == flipped.metrics


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, y, p: ((i, y * 0, p), {}), "no image of class 'kind1'"),
        (lambda i, y, p: ((i.astype(np.uint16), y, p), {}), "channels of uint16.*1 of uint8"),
        (lambda i, y, p: ((np.stack([i] * 3, -1), y, p), {}), "3 channels of uint8"),
        (lambda i, y, p: ((i, y, p), {"classes": ["a", "b"]}), "has the classes a, b.*kind0"),
        (lambda i, y, p: (("/no/such/folder"), {}), "does not exist"),
    ],
)
def test_data_that_do_not_fit_the_model_are_refused(
    searched: Any, change: Any, message: str
) -> None:
    data, options = change(*arrays(2))
    with pytest.raises(DataError, match=message) as caught:
        tune_bio.evaluate(searched(2).folder, data, **options)
    assert is_one_line(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"space": 3}, SpaceError, "search space is int"),
        ({"space": "no_such.py"}, SpaceError, "no_such.py"),
        ({"pins": {"lrr": 1}}, ConfigError, "did you mean 'lr'"),
        ({"pins": {"lr": "much"}}, ConfigError, "lr='much'"),
        ({"data": (1, 2, 3, 4)}, DataError, "not a tuple of images and labels"),
        ({"data": "/no/such/folder"}, DataError, "does not exist"),
        ({"name": "../up"}, InputError, "not a valid folder name"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_starts_nothing(
    tmp_path: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments = {"space": small_nets, "settings": SETTINGS, "data": arrays(), **arguments}
    with pytest.raises(error, match=message) as caught:
        tune_bio.run_search(**arguments, results=tmp_path / "results", quiet=True)
    assert is_one_line(caught.value)
    assert not (tmp_path / "results").exists()


def test_the_manifest_identifies_the_source_of_the_search_space_function(searched: Any) -> None:
    manifest = tune_bio.records.manifest_file.read_manifest(searched(2).folder)
    assert manifest["space"]["file"].endswith("small_nets.py")
    assert manifest["question"] == "Which small network?"
    assert manifest["data"]["source"] == "arrays in memory"
    source = inspect.getsource(small_nets)
    assert manifest["space"]["sha256"] == hashlib.sha256(source.encode()).hexdigest()
