"""Frozen features: what a trial on them gives is what it gives on images."""

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


def _configured(model: str = "squeezenet1_0", **params: Any) -> TrialConfig:
    # Adam divides by what it has seen of a gradient, so that a zero's rounding moves the weight;
    # so does BatchNorm over few images, whose maps have but one pixel at the end.
    steady = {"optimizer": "sgd", "lr": 1e-3, "batch_size": 16}
    wanted = {"weights": "imagenet", "freeze": "backbone", "epochs": 5, "dropout": 0.5, **steady}
    return config(model, **wanted | params)


def _both(chosen: TrialConfig, dtype: str = "float32") -> tuple[TrialData, TrialData, Tensors]:
    """Images, images with features, and the backbone."""
    torch.manual_seed(3)
    backbone, data = lively_backbone(chosen), trial_data(chosen, train=32, val=16)
    return data, featured(chosen, data, backbone, dtype), backbone


@pytest.mark.parametrize("model", QUICK)
def test_features_are_what_the_ordinary_path_computes(model: str) -> None:
    """In a training step: its batches, and the mode that its model is in."""
    chosen = _configured(model)
    plain, kept, backbone = _both(chosen)
    assert kept.cut is not None
    state = TrainingState(chosen, plain, backbone=backbone)
    seen: list[torch.Tensor] = []
    end = state.model.get_submodule(kept.cut.modules[-1])
    end.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    state.model.train()
    for rows in torch.arange(len(plain.train)).split(chosen.batch_size):
        state.model(state.transform.normalize(gather(as_source(plain.train.pixels), rows, CPU)))
    expected = torch.cat(seen)
    expected = expected.permute(0, 2, 3, 1) if kept.cut.channels_last else expected
    found = torch.from_numpy(np.array(kept.train.features))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert expected.std() > 0


@pytest.mark.parametrize(("model", "strategy"), CASES)
def test_a_trial_on_features_is_the_trial_on_images(model: str, strategy: str) -> None:
    chosen = _configured(model, **STRATEGIES[strategy])
    plain, kept, backbone = _both(chosen)
    on_images = list(fit(chosen, plain, backbone=backbone))
    on_features = list(fit(chosen, kept, backbone=backbone))
    first, second = on_images[0], on_features[0]
    assert second.train_loss == pytest.approx(first.train_loss, rel=1e-5)
    assert second.val["loss"] == pytest.approx(first.val["loss"], rel=1e-5)
    assert on_features[-1].val["auroc"] == pytest.approx(on_images[-1].val["auroc"], abs=1e-3)
    assert [r.lr for r in on_features] == [r.lr for r in on_images]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_images_are_seen_in_no_epoch_that_the_features_serve(strategy: str) -> None:
    chosen = _configured(**STRATEGIES[strategy])
    _, kept, backbone = _both(chosen)
    served = {"backbone": 5, "stages_1": 5, "stages_2": 5, "lp_ft": 2, "gradual": 2}[strategy]
    state = TrainingState(chosen, kept, backbone=backbone)
    seen = []
    state.model.backbone.register_forward_hook(
        lambda module, inputs, output: seen.append(inputs[0])
    )
    for epoch in range(1, 6):
        train_epoch(state, kept)
        on_meta = [images.device.type == "meta" for images in seen]
        assert all(on_meta) if epoch <= served else not any(on_meta)
        seen.clear()


def test_half_precision_halves_the_bytes_and_hardly_moves_the_scores() -> None:
    chosen = _configured()
    plain, kept, backbone = _both(chosen, "float16")
    assert kept.train.features is not None
    assert kept.train.features.dtype == np.float16
    assert kept.reuse_tag.split()[-1] == "float16"
    on_images, on_features = (list(fit(chosen, d, backbone=backbone)) for d in (plain, kept))
    assert on_features[0].train_loss == pytest.approx(on_images[0].train_loss, rel=1e-2)


def test_features_that_half_precision_cannot_hold_are_refused() -> None:
    chosen = _configured()
    data, backbone = trial_data(chosen), lively_backbone(chosen)
    last = max(name for name in backbone if name.endswith("expand3x3.bias"))
    backbone[last] = torch.full_like(backbone[last], 1e5)
    with pytest.raises(ArithmeticError, match="float16"):
        featured(chosen, data, backbone, "float16")
    assert featured(chosen, data, backbone).cut is not None


def test_a_probe_has_the_head_of_the_whole_model_and_no_numbers_before_it() -> None:
    chosen = _configured("resnet18")
    plain, kept, backbone = _both(chosen)
    whole, probe = TrainingState(chosen, plain, backbone=backbone), TrainingState(chosen, kept)
    assert same(whole.model.head.state_dict(), probe.model.head.state_dict())
    assert all(tensor.is_meta for tensor in probe.model.backbone.state_dict().values())
    assert probe.trained == whole.trained
    assert probe.trainable_parameters == whole.trainable_parameters
    counts = [sum(p.numel() for p in s.model.parameters()) for s in (whole, probe)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_continued_trial_is_bit_identical_to_the_uninterrupted_one(strategy: str) -> None:
    chosen = _configured(**STRATEGIES[strategy], lr=0.01)
    _, kept, backbone = _both(chosen)
    whole = TrainingState(chosen, kept, backbone=backbone)
    expected = [train_epoch(whole, kept)]
    saved, best = whole.save(), whole.best
    expected += list(fit(chosen, kept, whole))
    continued = TrainingState(chosen, kept, backbone=backbone)
    continued.load(*saved, best)
    assert timeless(list(fit(chosen, kept, continued))) == timeless(expected[1:])
    assert same(continued.trained_weights(), whole.trained_weights())


def test_accuracy_at_the_best_epoch_comes_from_features_too() -> None:
    chosen = _configured(lr=0.01)
    plain, kept, backbone = _both(chosen)
    found = []
    for data in (plain, kept):
        state = TrainingState(chosen, data, backbone=backbone)
        list(fit(chosen, data, state))
        found.append(train_accuracy_at_best(state, data))
    assert found[0] == found[1]


def test_what_a_probe_has_trained_is_exported_with_its_backbone(tmp_path: Path) -> None:
    chosen = _configured()
    source = dataset(n=32, size=32)
    data = prepare_data(source, Geometry.of(chosen))
    backbone = lively_backbone(chosen)
    kept = featured(chosen, data, backbone)
    state = TrainingState(chosen, kept)
    list(fit(chosen, kept, state))
    assert state.best is not None
    exported_model.export(
        tmp_path, chosen, source, backbone=backbone, trained=state.best.weights,
        about={"validation": {}},
    )  # fmt: skip
    again = exported_model.load_model(tmp_path).predict_prepared(kept.val.pixels)
    assert again == pytest.approx(state.best.probabilities, abs=1e-5)


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
def test_what_changes_from_epoch_to_epoch_is_never_kept(params: dict[str, Any]) -> None:
    assert FrozenPart.of(_configured(**params)) is None


def test_configurations_share_a_part_whatever_they_train_behind_it() -> None:
    shared = [_configured(**STRATEGIES[name], lr=lr) for name in STRATEGIES for lr in (0.1, 0.01)]
    found = frozen_parts([*shared, _configured("resnet18"), config("cnn")])
    assert [(part.model, part.stages, len(of)) for part, of in found.items()] == [
        ("squeezenet1_0", 0, 6),
        ("squeezenet1_0", 1, 2),
        ("squeezenet1_0", 2, 2),
        ("resnet18", 0, 1),
    ]


def test_everything_that_makes_the_bytes_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, data = _configured(), dataset()
    more = dataset(n=31)

    def key(
        params: dict[str, Any] | None = None,
        weights: str = "w",
        images: Any = data,
        maker: FeatureMaker = MAKER,
    ) -> str:
        return feature_key(_configured(**(params or {})), weights, images, maker)

    same_bytes = [key(), key({"lr": 0.5, "freeze": "lp_ft", "batch_size": 8, "seed": 3})]
    assert set(same_bytes) == {feature_key(chosen, "w", dataset(), MAKER)}
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
    monkeypatch.setattr(frozen_features, "code_version", lambda: "mended")
    others.append(key())
    with monkeypatch.context() as patch:
        patch.setattr(frozen_features, "version", lambda package: f"another {package}")
        others.append(key())
    for module in (torch, torchvision, PIL, tifffile, imagecodecs):
        with monkeypatch.context() as patch:
            patch.setattr(module, "__version__", "0")
            others.append(key())
    with monkeypatch.context() as patch:
        patch.setattr(versions, "DECODER_VERSION", "mended")
        others.append(key())
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "other")
    others.append(key())
    assert len({*same_bytes, *others}) == 1 + len(others)


def test_blocks_cover_both_splits_and_change_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = _configured()
    data, backbone = trial_data(chosen, train=70, val=33), lively_backbone(chosen)
    monkeypatch.setattr(frozen_features, "feature_batch", lambda size, device: 16)
    model, transform = frozen_model(chosen, backbone, 1), input_transform(chosen, data.format)
    whole = featured(chosen, data, backbone)
    assert whole.cut is not None
    monkeypatch.setattr(
        frozen_features, "BLOCK_BYTES", 16 * frozen_features.row_bytes(whole.cut, "float32")
    )
    part, rows = FrozenPart.of(chosen), {"train": 70, "val": 33}
    assert part is not None
    found = FeatureSet(part, chosen, "key", whole.cut, rows, MAKER).blocks
    assert len(found) == 5 + 3
    for name, split in (("train", whole.train), ("val", whole.val)):
        of_split = [block for block in found if block.split == name]
        assert [block.start for block in of_split[1:]] == [block.stop for block in of_split[:-1]]
        made = [
            compute_features(
                model, whole.cut, transform, split.pixels[b.start : b.stop], "float32", CPU
            )
            for b in of_split
        ]
        np.testing.assert_array_equal(np.concatenate(made), split.features)


@pytest.mark.real_data
@pytest.mark.parametrize("model", ["squeezenet1_0", "timm:tf_efficientnet_lite0"])
@pytest.mark.parametrize("freeze", ["backbone", "stages_2"])
def test_real_weights_on_real_images(
    model: str, freeze: str, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(real_data / "torch_home"))
    chosen = _configured(model, freeze=freeze, batch_size=32)
    whole = open_dataset(str(real_data / "pneumoniamnist_dev.npz"))
    few = replace(whole, train=whole.train.take(np.arange(256)), val=whole.val.take(np.arange(128)))
    file = resolve([(model, "imagenet")], None, download=False).found[model, "imagenet"]
    arrays = load_backbone(model, file)
    backbone = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    plain = prepare_data(few, Geometry.of(chosen))
    kept = featured(chosen, plain, backbone)
    on_images, on_features = (list(fit(chosen, d, backbone=backbone)) for d in (plain, kept))
    assert on_features[0].train_loss == pytest.approx(on_images[0].train_loss, rel=1e-5)
    assert on_features[-1].val["auroc"] == pytest.approx(on_images[-1].val["auroc"], abs=1e-3)
