"""Frozen features: a trial on features has the results of the same trial on images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL
import pytest
import tifffile
import torch
import torchvision

from tests.data_factory import (
    config,
    dataset,
    featured,
    lively_backbone,
    same,
    timeless,
    trial_data,
)
from tune_bio.datasets.decoding import versions
from tune_bio.datasets.opening import open_dataset
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.trial_data import TrialData, prepare_data
from tune_bio.inference import exported_model
from tune_bio.models.build import input_transform
from tune_bio.models.weights.pretrained import load_backbone
from tune_bio.models.weights.published import resolve
from tune_bio.reuse import frozen_features
from tune_bio.reuse.frozen_features import (
    FeatureMaker,
    FeatureSet,
    FrozenPart,
    compute_features,
    feature_key,
    frozen_model,
    frozen_parts,
)
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.devices import as_source, gather
from tune_bio.training.fit import fit, train_accuracy_at_best, train_epoch
from tune_bio.training.state import CPU, Tensors, TrainingState

STRATEGIES: dict[str, dict[str, Any]] = {
    "backbone": {"freeze": "backbone"},
    "stages_1": {"freeze": "stages_1"},
    "stages_2": {"freeze": "stages_2"},
    "lp_ft": {"freeze": "lp_ft", "lp_epochs": 2},
    "gradual": {"freeze": "gradual", "unfreeze_every": 2},
}
QUICK = {
    "squeezenet1_0": tuple(STRATEGIES),
    "resnet18": ("backbone", "stages_2", "lp_ft"),
    "timm:tf_efficientnet_lite0": ("backbone", "stages_2"),
    "resnext50_32x4d": ("backbone",),
}
CASES = [
    pytest.param(model, strategy, marks=() if strategy in quick else pytest.mark.slow)
    for model, quick in QUICK.items()
    for strategy in STRATEGIES
]
MAKER = FeatureMaker("cpu", 1, "float32")


def _trial_config(model: str = "squeezenet1_0", **params: Any) -> TrialConfig:
    # Adam divides by past gradients, so that the rounding error of a zero moves the weight; so does
    # BatchNorm over few images, whose maps end in a single pixel.
    stable = {"optimizer": "sgd", "lr": 1e-3, "batch_size": 16}
    defaults = {"weights": "imagenet", "freeze": "backbone", "epochs": 5, "dropout": 0.5, **stable}
    return config(model, **defaults | params)


def _data_with_and_without_features(
    trial_config: TrialConfig, dtype: str = "float32"
) -> tuple[TrialData, TrialData, Tensors]:
    """Return data without features, data with features, and the backbone."""
    torch.manual_seed(3)
    backbone, data = lively_backbone(trial_config), trial_data(trial_config, train=32, val=16)
    return data, featured(trial_config, data, backbone, dtype), backbone


@pytest.mark.parametrize("model", QUICK)
def test_features_equal_those_of_a_training_step_on_images(model: str) -> None:
    """The training step uses its own batches and its model in training mode."""
    trial_config = _trial_config(model)
    plain, with_features, backbone = _data_with_and_without_features(trial_config)
    assert with_features.cut is not None
    state = TrainingState(trial_config, plain, backbone=backbone)
    outputs: list[torch.Tensor] = []
    end = state.model.get_submodule(with_features.cut.modules[-1])
    end.register_forward_hook(lambda module, inputs, output: outputs.append(output.detach()))
    state.model.train()
    for rows in torch.arange(len(plain.train)).split(trial_config.batch_size):
        state.model(state.transform.normalize(gather(as_source(plain.train.pixels), rows, CPU)))
    expected = torch.cat(outputs)
    expected = expected.permute(0, 2, 3, 1) if with_features.cut.channels_last else expected
    actual = torch.from_numpy(np.array(with_features.train.features))
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert expected.std() > 0


@pytest.mark.parametrize(("model", "strategy"), CASES)
def test_a_trial_on_features_matches_the_trial_on_images(model: str, strategy: str) -> None:
    trial_config = _trial_config(model, **STRATEGIES[strategy])
    plain, with_features, backbone = _data_with_and_without_features(trial_config)
    on_images = list(fit(trial_config, plain, backbone=backbone))
    on_features = list(fit(trial_config, with_features, backbone=backbone))
    first, second = on_images[0], on_features[0]
    assert second.train_loss == pytest.approx(first.train_loss, rel=1e-5)
    assert second.val["loss"] == pytest.approx(first.val["loss"], rel=1e-5)
    assert on_features[-1].val["auroc"] == pytest.approx(on_images[-1].val["auroc"], abs=1e-3)
    assert [result.lr for result in on_features] == [result.lr for result in on_images]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_epochs_on_features_use_no_images(strategy: str) -> None:
    trial_config = _trial_config(**STRATEGIES[strategy])
    _, with_features, backbone = _data_with_and_without_features(trial_config)
    frozen_epochs = {"backbone": 5, "stages_1": 5, "stages_2": 5, "lp_ft": 2, "gradual": 2}[
        strategy
    ]
    state = TrainingState(trial_config, with_features, backbone=backbone)
    backbone_inputs = []
    state.model.backbone.register_forward_hook(
        lambda module, inputs, output: backbone_inputs.append(inputs[0])
    )
    for epoch in range(1, 6):
        train_epoch(state, with_features)
        on_meta = [images.device.type == "meta" for images in backbone_inputs]
        assert all(on_meta) if epoch <= frozen_epochs else not any(on_meta)
        backbone_inputs.clear()


def test_half_precision_halves_the_bytes_and_hardly_changes_the_scores() -> None:
    trial_config = _trial_config()
    plain, with_features, backbone = _data_with_and_without_features(trial_config, "float16")
    assert with_features.train.features is not None
    assert with_features.train.features.dtype == np.float16
    assert with_features.reuse_tag.split()[-1] == "float16"
    on_images, on_features = (
        list(fit(trial_config, data, backbone=backbone)) for data in (plain, with_features)
    )
    assert on_features[0].train_loss == pytest.approx(on_images[0].train_loss, rel=1e-2)


def test_features_that_half_precision_cannot_hold_are_refused() -> None:
    trial_config = _trial_config()
    data, backbone = trial_data(trial_config), lively_backbone(trial_config)
    last = max(name for name in backbone if name.endswith("expand3x3.bias"))
    backbone[last] = torch.full_like(backbone[last], 1e5)
    with pytest.raises(ArithmeticError, match="float16"):
        featured(trial_config, data, backbone, "float16")
    assert featured(trial_config, data, backbone).cut is not None


def test_a_probe_has_the_head_of_the_whole_model_and_an_empty_backbone() -> None:
    trial_config = _trial_config("resnet18")
    plain, with_features, backbone = _data_with_and_without_features(trial_config)
    whole, probe = (
        TrainingState(trial_config, plain, backbone=backbone),
        TrainingState(trial_config, with_features),
    )
    assert same(whole.model.head.state_dict(), probe.model.head.state_dict())
    assert all(tensor.is_meta for tensor in probe.model.backbone.state_dict().values())
    assert probe.trained == whole.trained
    assert probe.trainable_parameters == whole.trainable_parameters
    counts = [sum(p.numel() for p in s.model.parameters()) for s in (whole, probe)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_continued_trial_is_bit_identical_to_the_uninterrupted_one(strategy: str) -> None:
    trial_config = _trial_config(**STRATEGIES[strategy], lr=0.01)
    _, with_features, backbone = _data_with_and_without_features(trial_config)
    uninterrupted = TrainingState(trial_config, with_features, backbone=backbone)
    expected = [train_epoch(uninterrupted, with_features)]
    saved, best = uninterrupted.save(), uninterrupted.best
    expected += list(fit(trial_config, with_features, uninterrupted))
    continued = TrainingState(trial_config, with_features, backbone=backbone)
    continued.load(*saved, best)
    assert timeless(list(fit(trial_config, with_features, continued))) == timeless(expected[1:])
    assert same(continued.trained_weights(), uninterrupted.trained_weights())


def test_train_accuracy_at_the_best_epoch_is_the_same_on_features() -> None:
    trial_config = _trial_config(lr=0.01)
    plain, with_features, backbone = _data_with_and_without_features(trial_config)
    accuracies = []
    for data in (plain, with_features):
        state = TrainingState(trial_config, data, backbone=backbone)
        list(fit(trial_config, data, state))
        accuracies.append(train_accuracy_at_best(state, data))
    assert accuracies[0] == accuracies[1]


def test_a_trained_probe_is_exported_with_its_backbone(tmp_path: Path) -> None:
    trial_config = _trial_config()
    source = dataset(n=32, size=32)
    data = prepare_data(source, Geometry.of(trial_config))
    backbone = lively_backbone(trial_config)
    with_features = featured(trial_config, data, backbone)
    state = TrainingState(trial_config, with_features)
    list(fit(trial_config, with_features, state))
    assert state.best is not None
    exported_model.export(
        tmp_path, trial_config, source, backbone=backbone, trained=state.best.weights,
        about={"validation": {}},
    )  # fmt: skip
    probabilities = exported_model.load_model(tmp_path).predict_prepared(with_features.val.pixels)
    assert probabilities == pytest.approx(state.best.probabilities, abs=1e-5)


@pytest.mark.parametrize(
    "params",
    [
        {"freeze": "none"},
        {"freeze": "backbone_bn"},
        {"freeze": "backbone", "augment": "flip"},
        {"freeze": "stages_1", "augment": "trivial"},
    ],
    ids=str,
)
def test_features_that_change_from_epoch_to_epoch_are_never_cached(params: dict[str, Any]) -> None:
    assert FrozenPart.of(_trial_config(**params)) is None


def test_configurations_share_a_part_whatever_they_train_after_it() -> None:
    shared = [_trial_config(**STRATEGIES[name], lr=lr) for name in STRATEGIES for lr in (0.1, 0.01)]
    parts = frozen_parts([*shared, _trial_config("resnet18"), config("cnn")])
    assert [(part.model, part.stages, len(configs)) for part, configs in parts.items()] == [
        ("squeezenet1_0", 0, 6),
        ("squeezenet1_0", 1, 2),
        ("squeezenet1_0", 2, 2),
        ("resnet18", 0, 1),
    ]


def test_everything_that_affects_the_bytes_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    trial_config, data = _trial_config(), dataset()
    more = dataset(n=31)

    def key(
        params: dict[str, Any] | None = None,
        weights: str = "w",
        images: Any = data,
        maker: FeatureMaker = MAKER,
    ) -> str:
        return feature_key(_trial_config(**(params or {})), weights, images, maker)

    same_bytes = [key(), key({"lr": 0.5, "freeze": "lp_ft", "batch_size": 8, "seed": 3})]
    assert set(same_bytes) == {feature_key(trial_config, "w", dataset(), MAKER)}
    others = [
        key(weights="x"),
        key({"model": "squeezenet1_1"}),
        key({"freeze": "stages_1"}),
        key({"freeze": "stages_2"}),
        key({"image_size": 48}),
        key({"resize": 40, "crop": 32}),
        key({"model": "timm:tf_efficientnet_lite0"}),
        key(images=replace(data, train=more.train)),
        key(images=replace(data, val=more.val)),
        key(images=dataset(channels=3)),
        key(maker=replace(MAKER, device="gpu")),
        key(maker=replace(MAKER, threads=2)),
        key(maker=replace(MAKER, dtype="float16")),
    ]
    monkeypatch.setattr(frozen_features, "code_version", lambda: "fixed")
    others.append(key())
    with monkeypatch.context() as patch:
        patch.setattr(frozen_features, "version", lambda package: f"another {package}")
        others.append(key())
    for module in (torch, torchvision, PIL, tifffile, imagecodecs):
        with monkeypatch.context() as patch:
            patch.setattr(module, "__version__", "0")
            others.append(key())
    with monkeypatch.context() as patch:
        patch.setattr(versions, "DECODER_VERSION", "fixed")
        others.append(key())
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "other")
    others.append(key())
    assert len({*same_bytes, *others}) == 1 + len(others)


def test_blocks_cover_both_splits_and_change_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    trial_config = _trial_config()
    data, backbone = trial_data(trial_config, train=70, val=33), lively_backbone(trial_config)
    monkeypatch.setattr(frozen_features, "feature_batch", lambda size, device: 16)
    model, transform = (
        frozen_model(trial_config, backbone, 1),
        input_transform(trial_config, data.format),
    )
    with_features = featured(trial_config, data, backbone)
    assert with_features.cut is not None
    monkeypatch.setattr(
        frozen_features, "BLOCK_BYTES", 16 * frozen_features.row_bytes(with_features.cut, "float32")
    )
    part, rows = FrozenPart.of(trial_config), {"train": 70, "val": 33}
    assert part is not None
    blocks = FeatureSet(part, trial_config, "key", with_features.cut, rows, MAKER).blocks
    assert len(blocks) == 5 + 3
    for name, split in (("train", with_features.train), ("val", with_features.val)):
        split_blocks = [block for block in blocks if block.split == name]
        starts = [block.start for block in split_blocks[1:]]
        assert starts == [block.stop for block in split_blocks[:-1]]
        features = [
            compute_features(
                model,
                with_features.cut,
                transform,
                split.pixels[block.start : block.stop],
                "float32",
                CPU,
            )
            for block in split_blocks
        ]
        np.testing.assert_array_equal(np.concatenate(features), split.features)


@pytest.mark.real_data
@pytest.mark.parametrize("model", ["squeezenet1_0", "timm:tf_efficientnet_lite0"])
@pytest.mark.parametrize("freeze", ["backbone", "stages_2"])
def test_real_weights_on_real_images(
    model: str, freeze: str, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(real_data / "torch_home"))
    trial_config = _trial_config(model, freeze=freeze, batch_size=32)
    source = open_dataset(str(real_data / "pneumoniamnist_dev.npz"))
    small = replace(
        source, train=source.train.take(np.arange(256)), val=source.val.take(np.arange(128))
    )
    file = resolve([(model, "imagenet")], None, download=False).files[model, "imagenet"]
    arrays = load_backbone(model, file)
    backbone = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    plain = prepare_data(small, Geometry.of(trial_config))
    with_features = featured(trial_config, plain, backbone)
    on_images, on_features = (
        list(fit(trial_config, data, backbone=backbone)) for data in (plain, with_features)
    )
    assert on_features[0].train_loss == pytest.approx(on_images[0].train_loss, rel=1e-5)
    assert on_features[-1].val["auroc"] == pytest.approx(on_images[-1].val["auroc"], abs=1e-3)
