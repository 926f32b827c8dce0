"""Configurations: valid ones round-trip, invalid ones are refused in one line."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.data_factory import MODELS, PRETRAINED, examples, is_one_line, outcome
from tune_bio.errors import ConfigError, InputError
from tune_bio.space.pins import parse_assignment
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import (
    ACTIVE,
    HYPERPARAMETERS,
    METRIC_MODES,
    TrialConfig,
    is_inactive,
)

POSITIVE = st.integers(1, 500)
SHARE = st.floats(0, 1, exclude_max=True)
DROPOUT = st.integers(0, 99).map(lambda percent: percent / 100)


def _per_layer(number: st.SearchStrategy[Any], layers: int) -> st.SearchStrategy[Any]:
    listed = st.lists(number, min_size=layers, max_size=layers).map(
        lambda values: "-".join(f"{value:g}" for value in values)
    )
    return number | listed if layers > 1 else number


@st.composite
def valid_params(draw: st.DrawFn) -> dict[str, Any]:
    """Draw hyperparameters that are valid together, each of them set or left out."""
    model = draw(st.sampled_from(["ann", *MODELS]))
    always = {
        "loss": st.sampled_from(["cross_entropy", "bce"]),
        "class_weights": st.sampled_from(["none", "balanced"]),
        "label_smoothing": SHARE,
        "lr": st.floats(1e-8, 100),
        "weight_decay": st.floats(0, 1),
        "warmup_epochs": st.integers(0, 5),
        "batch_size": st.integers(2, 500),
        "patience": st.integers(0, 9),
        "image_size": st.integers(8, 512),
        "augment": st.sampled_from(["none", "flip", "jitter", "affine", "trivial"]),
        "resize": st.integers(100, 512),
        "seed": st.integers(0, 2**63 - 1),
    }
    params = draw(st.fixed_dictionaries({"model": st.just(model)}, optional=always))
    params["epochs"] = draw(POSITIVE)
    params["optimizer"] = draw(st.sampled_from(["adam", "adamw", "sgd"]))
    params["lr_schedule"] = draw(st.sampled_from(["constant", "step", "cosine", "onecycle"]))
    if params["lr_schedule"] == "onecycle":
        params.pop("warmup_epochs", None)
    elif params["optimizer"] == "sgd":
        params["momentum"] = draw(SHARE)
    if params["lr_schedule"] == "step":
        params |= {"step_size": draw(POSITIVE), "gamma": draw(st.floats(0.01, 1))}
    if model in PRETRAINED:
        params["weights"] = draw(st.sampled_from(["none", "imagenet"]))
        params["dropout"] = draw(DROPOUT)
        if params["weights"] != "none":
            params["freeze"] = draw(
                st.sampled_from(["none", "backbone", "backbone_bn", "stages_2", "lp_ft", "gradual"])
            )
            if params["freeze"] == "gradual":
                params["unfreeze_every"] = draw(POSITIVE)
            if params["freeze"] == "lp_ft":
                params["lp_epochs"] = draw(st.integers(0, params["epochs"]))
        return params
    layers = 3 if model != "ann" else draw(st.integers(1, 5))
    params["width"] = draw(_per_layer(POSITIVE, layers))
    params["dropout"] = draw(_per_layer(DROPOUT, layers + (model != "ann")))
    if model != "ann":
        params["head_width"] = draw(st.integers(0, 99))
    if model == "ann" and "-" not in f"{params['width']}{params['dropout']}":
        params["depth"] = layers  # a list of either is the depth
    return params


@examples
@given(valid_params())
def test_valid_hyperparameters_are_kept_and_round_trip_through_json(params: dict[str, Any]) -> None:
    config = TrialConfig.of(params)
    stored = json.loads(json.dumps(config.params()))
    assert TrialConfig.of({**stored, "seed": config.seed}) == config
    assert None not in stored.values()
    drawn = {name: value for name, value in params.items() if name not in ("seed", "lp_epochs")}
    assert drawn.items() <= config.params().items()


@examples
@given(valid_params())
def test_is_inactive_agrees_with_params(params: dict[str, Any]) -> None:
    active = TrialConfig.of(params).params()
    for name in HYPERPARAMETERS:
        assert is_inactive(name, {**active, name: active.get(name)}) == (name not in active), name


@examples
@given(valid_params())
def test_widths_and_dropouts_have_one_entry_per_layer(params: dict[str, Any]) -> None:
    config = TrialConfig.of(params)
    assert len(config.widths) == config.layers
    assert len(config.dropouts) == config.layers + (config.model in ("cnn", "cnn_gap"))
    for name, values in (("width", config.widths), ("dropout", config.dropouts)):
        text = str(config.params().get(name, getattr(config, name)))
        listed = {f"{float(part):g}" for part in text.split("-")}
        assert listed <= {f"{value:g}" for value in values} <= listed | {"0"}


@examples
@given(st.text("0123456789-.einfa", max_size=8))
def test_per_layer_text_is_parsed_as_written_or_refused(text: str) -> None:
    widths = outcome(lambda: TrialConfig.of({"model": "ann", "width": text}).widths)
    if not isinstance(widths, InputError):
        assert all(float(part) == w for part, w in zip(text.split("-"), widths, strict=False))
        assert min(widths) >= 1


def test_a_number_with_an_exponent_is_not_read_as_a_list() -> None:
    assert TrialConfig.of({"model": "ann", "dropout": 1e-5}).dropouts == (1e-5,) * 3


def test_listed_dropouts_set_the_depth_that_is_recorded() -> None:
    config = TrialConfig.of({"model": "ann", "dropout": "0.1-0.2"})
    assert config.layers == 2
    assert config.params().get("depth", 2) == 2
    with pytest.raises(ConfigError):
        TrialConfig.of({"model": "ann", "depth": 3, "dropout": "0.1-0.2"})


INACTIVE = [
    {"model": "resnet18", "freeze": "none", "lp_epochs": 2},
    {"model": "cnn", "depth": 2},
    {"model": "ann", "width": "64-32", "depth": 2},
    {"model": "resnet18", "width": 64},
    {"model": "ann", "optimizer": "adam", "momentum": 0.9},
    {"model": "ann", "lr_schedule": "cosine", "step_size": 3},
    {"model": "ann", "lr_schedule": "constant", "gamma": 0.5},
    {"model": "ann", "lr_schedule": "onecycle", "warmup_epochs": 2},
    {"model": "resnet18", "weights": "imagenet", "freeze": "lp_ft", "unfreeze_every": 2},
    {"model": "ann", "head_width": 8},
]


@pytest.mark.parametrize("params", INACTIVE, ids=lambda params: list(params)[-1])
def test_a_hyperparameter_without_effect_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=repr(list(params)[-1])) as caught:
        TrialConfig.of(params)
    assert is_one_line(caught.value)


def test_every_conditional_hyperparameter_has_a_case_above() -> None:
    assert {list(params)[-1] for params in INACTIVE} == set(ACTIVE)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "model"),
        ({"model": ""}, "model"),
        ({"model": "cnn", "lrr": 0.1}, "did you mean 'lr'"),
        ({"model": "cnn", "qqq": 0.1}, "known: augment, batch_size"),
        ({"model": "cnn", "optimizer": "adamm"}, "one of adam, adamw, sgd"),
        ({"model": "cnn", "lr": 0.0}, "lr=0.0"),
        ({"model": "cnn", "lr": float("nan")}, "lr=nan"),
        ({"model": "cnn", "lr": "0.1"}, "lr='0.1'"),
        ({"model": "cnn", "lr": True}, "lr=True"),
        ({"model": "cnn", "epochs": True}, "epochs=True"),
        ({"model": "cnn", "epochs": 2.5}, "epochs=2.5"),
        ({"model": "cnn", "epochs": None}, "epochs=None"),
        ({"model": "cnn", "dropout": 1.0}, r"dropout=1.0.*\[0, 1\)"),
        ({"model": "cnn", "dropout": "0.1-x-0.2"}, "neither a number nor a list of numbers"),
        ({"model": "cnn", "width": 0}, "width=0"),
        ({"model": "cnn", "width": "32-32", "dropout": "0-0-0.1-0.1"}, "3 dropouts|4 dropouts"),
        ({"model": "ann", "width": "32-32", "dropout": "0-0-0.1"}, "do not fit together"),
        ({"model": "cnn", "crop": 9}, "crop=9 without resize"),
        ({"model": "cnn", "resize": 20, "crop": 21}, "crop=21 is larger than resize=20"),
        ({"model": "resnet18", "dropout": "0.1-0.1"}, "resnet18 has one dropout"),
        ({"model": "ann", "batch_size": 1}, "batch_size=1"),
        ({"model": "ann", "weights": "imagenet"}, "model='ann' with weights='imagenet'"),
        ({"model": "resnet18", "freeze": "backbone"}, "weights are pretrained"),
        (
            {
                "model": "resnet18",
                "weights": "imagenet",
                "freeze": "lp_ft",
                "lp_epochs": 9,
                "epochs": 8,
            },
            "lp_epochs=9",
        ),
        ({"model": "cnn", "seed": -1}, "seed=-1"),
    ],
)
def test_an_invalid_configuration_is_refused_in_one_line(
    params: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        TrialConfig.of(params)
    assert is_one_line(caught.value)


@pytest.mark.parametrize("value", ["stages_0", "stages_", "stages_1.5", "head", "stages_K"])
def test_an_unknown_freeze_strategy_is_refused_with_the_known_ones(value: str) -> None:
    params = {"model": "resnet18", "weights": "imagenet", "freeze": value}
    with pytest.raises(ConfigError, match=r"backbone_bn, stages_K .*, lp_ft, gradual"):
        TrialConfig.of(params)


@pytest.mark.parametrize(("freeze", "stages"), [("stages_3", 3), ("stages_12", 12), ("none", 0)])
def test_the_number_of_frozen_stages_is_read(freeze: str, stages: int) -> None:
    params = {"model": "resnet18", "weights": "imagenet", "freeze": freeze}
    assert TrialConfig.of(params).frozen_stages == stages


@pytest.mark.parametrize(("model", "hidden"), [("cnn", 48), ("cnn_gap", 0)])
def test_the_default_head_of_a_cnn_is_that_of_the_course_report(model: str, hidden: int) -> None:
    params = {"model": model, "width": "8-16-48"}
    assert TrialConfig.of(params).params()["head_width"] == hidden
    assert TrialConfig.of({**params, "head_width": 0}).head_width == 0


def test_a_single_dropout_of_a_cnn_applies_after_the_last_convolution_and_at_the_output() -> None:
    assert TrialConfig.of({"model": "cnn", "dropout": 0.6}).dropouts == (0, 0, 0.6, 0.6)
    listed = TrialConfig.of({"model": "cnn", "dropout": "0-0.1-0.2-0.3"})
    assert (listed.dropouts, listed.layers) == ((0, 0.1, 0.2, 0.3), 3)


@pytest.mark.parametrize(("epochs", "expected"), [(1, 1), (4, 1), (5, 2), (20, 5), (21, 6)])
def test_the_linear_probe_lasts_a_quarter_of_the_epochs_rounded_up(
    epochs: int, expected: int
) -> None:
    params = {"model": "resnet18", "weights": "imagenet", "freeze": "lp_ft", "epochs": epochs}
    assert TrialConfig.of(params).params()["lp_epochs"] == expected


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        TrialConfig.of({"model": "cnn"}).lr = 0.5  # type: ignore[misc]


@pytest.mark.parametrize("metric", METRIC_MODES)
def test_only_losses_are_minimised(metric: str) -> None:
    assert SearchSettings.of({"metric": metric}).mode == ("min" if "loss" in metric else "max")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_trial": 3}, "did you mean 'num_trials'"),
        ({"metric": "auroc"}, "one of val_auroc, "),
        ({"num_trials": 0}, "num_trials=0"),
        ({"time_budget": -1.0}, "time_budget=-1"),
        ({"max_epochs": 3, "grace_period": 4}, "grace_period=4"),
        ({"ablate": True, "finalists": 0}, "ablate needs a finalist"),
        ({"ablate": True, "replicates": 1}, "ablate needs a finalist"),
        ({"resplit": True, "replicates": 1}, "resplit needs a finalist"),
    ],
)
def test_invalid_settings_are_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        SearchSettings.of(values)
    assert is_one_line(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr=1e-3", ("lr", 1e-3)),
        ("epochs=7", ("epochs", 7)),
        ("width=512-256", ("width", "512-256")),
        ("model=timm:tf_efficientnet_lite0", ("model", "timm:tf_efficientnet_lite0")),
        ("weights=none", ("weights", "none")),
        ("model=a=b", ("model", "a=b")),
        ("model=null", ("model", "null")),
    ],
)
def test_an_assignment_is_parsed_to_the_value_of_the_tables(text: str, expected: Any) -> None:
    name, value = parse_assignment(text)
    assert (name, value) == expected
    assert type(value) is type(expected[1])


@pytest.mark.parametrize("text", ["lr", "lr=", "=3", "", "lrr=3", "crop=x"])
def test_an_invalid_assignment_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_assignment(text)
    assert is_one_line(caught.value)
