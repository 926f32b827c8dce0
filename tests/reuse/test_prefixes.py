"""Shared prefixes: which trainings share their first epochs."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data_factory import config, few_examples
from tune_bio.reuse import prefixes
from tune_bio.reuse.prefixes import (
    KeyContext,
    PrefixStore,
    folders_of,
    group_by_prefix,
    numbered_checkpoints,
    owners,
    prefix_identity,
)
from tune_bio.training.lr_schedules import Step, lr_factor

CONTEXT = KeyContext("val_auroc", "data", {("resnet18", "imagenet"): "weights"}, threads=1)


def store(folder: Path = Path("results/study"), **changes: Any) -> PrefixStore:
    values = {
        "metric": CONTEXT.metric, "data": CONTEXT.data,
        "weights": CONTEXT.weights, "threads": CONTEXT.threads,
    }  # fmt: skip
    return PrefixStore(folder, KeyContext(**{**values, **changes}))


@pytest.mark.parametrize(
    ("params", "shares"),
    [
        ({"lr_schedule": "constant"}, True),
        ({"lr_schedule": "step", "step_size": 2}, True),
        ({"lr_schedule": "cosine"}, False),
        ({"lr_schedule": "onecycle"}, False),
        ({"warmup_epochs": 3}, True),
        ({"warmup_epochs": 4}, False),  # cut to three epochs in the shorter trial
        ({"patience": 2}, True),
        ({"augment": "affine"}, True),
    ],
)
def test_the_length_is_part_of_the_key_if_the_first_epochs_depend_on_it(
    params: dict[str, Any], shares: bool
) -> None:
    short, long = config(**params, epochs=4), config(**params, epochs=9)
    assert (store().key(short) == store().key(long)) == shares


@pytest.mark.parametrize(("lp_epochs", "shares"), [(2, True), (None, False)])
def test_trials_with_linear_probes_of_different_length_share_no_prefix(
    lp_epochs: int | None, shares: bool
) -> None:
    probe = {"weights": "imagenet", "freeze": "lp_ft"}
    if lp_epochs is not None:
        probe["lp_epochs"] = lp_epochs  # type: ignore[assignment]
    short, long = (config("resnet18", **probe, epochs=epochs) for epochs in (4, 8))
    assert (store().key(short) == store().key(long)) == shares


@given(
    st.sampled_from(["constant", "step", "cosine", "onecycle"]),
    st.integers(0, 6), st.integers(1, 8), st.integers(1, 8),
)  # fmt: skip
@few_examples
def test_trainings_with_the_same_key_have_the_same_learning_rates(
    schedule: str, warmup: int, short: int, long: int
) -> None:
    params = {} if schedule == "onecycle" else {"warmup_epochs": warmup}
    a, b = (config(lr_schedule=schedule, **params, epochs=n) for n in (short, long))
    if prefix_identity(a) == prefix_identity(b):
        for epoch in range(min(short, long)):
            factors = {lr_factor(c, Step(epoch, c.epochs, 0, 3)) for c in (a, b)}
            assert len(factors) == 1


def test_everything_that_changes_the_bits_changes_the_key() -> None:
    trial_config = config("resnet18", weights="imagenet")
    keys = {
        store().key(trial_config),
        store().key(trial_config, reuse_tag="float32"),
        store().key(trial_config, device="NVIDIA H100"),
        store().key(trial_config.model_copy(update={"seed": 1})),
        store().key(trial_config.model_copy(update={"lr": 0.5})),
        store().key(trial_config.model_copy(update={"patience": 3})),
        store(metric="val_loss").key(trial_config),
        store(data="others").key(trial_config),
        store(weights={}).key(trial_config),
        store(threads=2).key(trial_config),
    }
    assert len(keys) == 10


def test_the_code_and_its_libraries_are_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {store().key(config())}
    monkeypatch.setattr("tune_bio.reuse.prefixes.code_version", lambda: "fixed")
    keys.add(store().key(config()))
    for library in ("torch", "torchvision", "PIL", "tifffile", "imagecodecs"):
        monkeypatch.setattr(f"{library}.__version__", "another")
        keys.add(store().key(config()))
    for library in ("timm", "numpy", "scikit-learn"):
        with monkeypatch.context() as patch:
            patch.setattr(
                "tune_bio.reuse.prefixes.version", lambda name, lib=library: str(name == lib)
            )
            prefixes._versions.cache_clear()
            keys.add(store().key(config()))
    prefixes._versions.cache_clear()
    assert len(keys) == 2 + 5 + 3


def test_configurations_with_the_same_prefix_are_grouped_by_length() -> None:
    step = {"lr_schedule": "step"}
    configs = [
        config(**step, epochs=30), config(lr_schedule="cosine", epochs=10),
        config(**step, epochs=10), config(lr_schedule="cosine", epochs=30),
        config(**step, epochs=20), config(**step, epochs=10, seed=1),
    ]  # fmt: skip
    assert group_by_prefix(configs) == [[2, 4, 0], [1], [3], [5]]


def test_the_latest_checkpoints_come_first_and_those_of_this_study_before_others(
    tmp_path: Path,
) -> None:
    own, other = store(tmp_path / "b"), store(tmp_path / "a")
    for study_store, epochs in ((own, (2, 4)), (other, (4, 6, 9))):
        for epoch in epochs:
            _make(study_store.at("key", epoch))
    (other.at("key", 6) / "optimizer.safetensors").unlink()
    paths = [str(path.relative_to(tmp_path)) for path in own.find("key", 2, 9)]
    assert paths == [f"{study}/checkpoints/key/{epoch}" for study, epoch in
                     (("a", 9), ("b", 4), ("a", 4))]  # fmt: skip
    assert list(own.find("other", 0, 9)) == []
    assert list(own.find("key", 9, 9)) == []


def test_trials_are_marked_as_owners_of_their_key(tmp_path: Path) -> None:
    study_store = store(tmp_path / "study")
    study_store.claim("key", ["t0001", "t0002"])
    _make(study_store.at("key", 3))
    (folder,) = folders_of(tmp_path / "study", "t0002")
    assert folder == tmp_path / "study" / "checkpoints" / "key"
    assert owners(folder) == {"t0001", "t0002"}
    assert [path.name for path in numbered_checkpoints(folder)] == ["3"]
    assert folders_of(tmp_path / "study", "t000") == []


def _make(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("state.json", "optimizer.safetensors", "best.safetensors"):
        (folder / name).write_bytes(b"x" * 1000)
