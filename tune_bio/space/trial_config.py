"""What one trial trains: frozen, validated, nothing else.

`TrialConfig.of(params)` is the one way to a configuration: it refuses keys that are unknown,
values that are out of range, combinations that are impossible, and hyperparameters that mean
nothing beside the others (`gamma` under a cosine schedule). `params()` gives back what is active.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from tune_bio.errors import ConfigError
from tune_bio.space.validation import (
    Count,
    ImmutableModel,
    NonNegative,
    Positive,
    check_names,
    validated,
)

Value = str | int | float | bool
Params = dict[str, Value]

SMALL_MODELS = ("ann", "cnn", "cnn_gap")
DEFAULT_WIDTHS = {"ann": 64, "cnn": 32, "cnn_gap": 32}
METRIC_MODES = {
    "val_auroc": "max",
    "val_accuracy": "max",
    "val_balanced_accuracy": "max",
    "val_macro_f1": "max",
    "val_loss": "min",
}
# The score of what has none, such as a diverged trial: neither ASHA nor Optuna can rank NaN.
WORST = {"max": 0.0, "min": 1e6}
# Under these the learning rate at an epoch depends on how long the trial will be.
LENGTH_BOUND_SCHEDULES = ("cosine", "onecycle")
FREEZE = ("none", "backbone", "backbone_bn", "stages_K (K from 1)", "lp_ft", "gradual")


class TrialConfig(ImmutableModel):
    """One trial's hyperparameters. The field's names and units are those of the tables.

    Per-layer values are written "512-256-256": the number of entries is then the number of
    layers. The CNNs take one dropout a convolution and a last one, before the output.
    """

    model: Annotated[str, Field(min_length=1)]
    weights: Literal["none", "imagenet", "IMAGENET1K_V1", "IMAGENET1K_V2"] = "none"
    freeze: Annotated[
        str,
        Field(
            pattern=r"^(none|backbone|backbone_bn|lp_ft|gradual|stages_[1-9][0-9]?)$",
            examples=list(FREEZE),
        ),
    ] = "none"
    lp_epochs: Count = 0  # 0: a quarter of `epochs`, rounded up
    unfreeze_every: Positive = 2  # epochs from one stage to the next under `gradual`
    depth: Annotated[int, Field(ge=1, le=64)] = 3
    width: int | str = 64
    head_width: Count = 0  # of the hidden layer in the CNNs' head; 0: there is none
    dropout: float | str = 0.2
    loss: Literal["cross_entropy", "bce"] = "cross_entropy"
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0, le=100)] = 1e-3
    weight_decay: NonNegative = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    lr_schedule: Literal["constant", "step", "cosine", "onecycle"] = "constant"
    step_size: Positive = 10
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup_epochs: Count = 0
    batch_size: Annotated[int, Field(ge=2)] = 32  # BatchNorm cannot train on one image
    epochs: Positive = 20
    patience: Count = 0  # 0: the trial never ends by itself before `epochs`
    augment: Literal["none", "flip", "jitter", "affine", "trivial"] = "none"
    image_size: Annotated[int, Field(ge=8, le=4096)] = 64
    resize: Annotated[int, Field(ge=0, le=8192)] = 0  # 0: straight to `image_size`
    crop: Annotated[int, Field(ge=0, le=8192)] = 0  # 0: nothing is cut
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Self:
        """Build a configuration from the hyperparameters given; the others take their defaults.

        Raises:
            ConfigError: unknown, inactive or out-of-range key, or an impossible combination.
        """
        check_names(params, known=HYPERPARAMETERS | {"seed"}, kind="hyperparameter")
        # "64" and 64 are one configuration, and have one fingerprint.
        params = {name: _one_number(name, value) for name, value in params.items()}
        values = {"width": DEFAULT_WIDTHS.get(str(params.get("model")), 64), **params}
        config = validated(cls, values, "hyperparameter")
        if config.freeze == "lp_ft" and config.lp_epochs == 0:
            config = config.model_copy(update={"lp_epochs": math.ceil(config.epochs / 4)})
        if config.model == "cnn" and "head_width" not in params:
            config = config.model_copy(update={"head_width": config.widths[-1]})
        _refuse_inactive(config, params)
        _refuse_impossible(config)
        return config

    def params(self) -> Params:
        """The active hyperparameters with their values, without the seed."""
        return {name: getattr(self, name) for name in _FIELD_ORDER if _is_active(name, self)}

    @property
    def widths(self) -> tuple[int, ...]:
        """One width a layer."""
        given = tuple(int(width) for width in per_layer("width", self.width))
        return given if len(given) > 1 else given * self.layers

    @property
    def dropouts(self) -> tuple[float, ...]:
        """One dropout probability a layer; the CNNs have one more, before the output.

        A single number stands in every hidden block of the ANN; in the CNNs it stands after the
        last convolution and before the output, as in the course report that they come from.
        """
        given = per_layer("dropout", self.dropout)
        if len(given) > 1:
            return given
        if self.model in ("cnn", "cnn_gap"):
            return (0.0,) * (self.layers - 1) + given * 2
        return given * self.layers

    @property
    def layers(self) -> int:
        """Hidden blocks of the ANN, convolutions of the CNNs; 1 for the model zoo's heads."""
        if self.model not in SMALL_MODELS:
            return 1
        return _listed_layers(self) or (self.depth if self.model == "ann" else 3)

    @property
    def frozen_stages(self) -> int:
        """K of freeze="stages_K", else 0."""
        prefix, _, number = self.freeze.partition("stages_")
        return int(number) if number and not prefix else 0


_FIELD_ORDER = tuple(name for name in TrialConfig.model_fields if name != "seed")
HYPERPARAMETERS: frozenset[str] = frozenset(_FIELD_ORDER)

# When a hyperparameter means something; those not named here always do.
ACTIVE: dict[str, tuple[Callable[[TrialConfig], bool], str]] = {
    "lp_epochs": (lambda c: c.freeze == "lp_ft", "freeze='lp_ft'"),
    "unfreeze_every": (lambda c: c.freeze == "gradual", "freeze='gradual'"),
    "depth": (lambda c: c.model == "ann", "model='ann'"),
    "width": (lambda c: c.model in SMALL_MODELS, "the models ann, cnn and cnn_gap"),
    "head_width": (lambda c: c.model in ("cnn", "cnn_gap"), "the models cnn and cnn_gap"),
    "momentum": (
        lambda c: c.optimizer == "sgd" and c.lr_schedule != "onecycle",
        "optimizer='sgd' under a schedule other than onecycle, which moves it",
    ),
    "step_size": (lambda c: c.lr_schedule == "step", "lr_schedule='step'"),
    "gamma": (lambda c: c.lr_schedule == "step", "lr_schedule='step'"),
    "warmup_epochs": (
        lambda c: c.lr_schedule != "onecycle",
        "the schedules constant, step and cosine (onecycle warms up by itself)",
    ),
}


def hyperparameter_names() -> tuple[str, ...]:
    """Every hyperparameter but the seed, in the order of the tables."""
    return _FIELD_ORDER


def is_inactive(name: str, params: Mapping[str, Any]) -> bool:
    """Whether `name` would mean nothing beside `params` (which need not contain it)."""
    others = {key: value for key, value in params.items() if key != name}
    return not _is_active(name, TrialConfig.model_construct(**others))


def format_value(value: Value) -> str:
    """A hyperparameter's value for people; a column with gaps holds whole numbers as floats."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.3g}"


def is_same(a: Value | None, b: Value | None) -> bool:
    """Whether two values of a hyperparameter are one: 0 and 0.0 are, and so are 64 and "64"."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b and isinstance(a, bool) == isinstance(b, bool)
    return str(a) == str(b)


def per_layer(name: str, value: float | str) -> tuple[float, ...]:
    """Read "512-256-256" (or one number) into numbers; raises ConfigError."""
    if not isinstance(value, str):
        return (float(value),)
    try:
        numbers = tuple(float(part) for part in value.split("-"))
    except ValueError:
        numbers = ()
    whole = name != "width" or all(number.is_integer() for number in numbers)
    if not numbers or not whole or not all(map(math.isfinite, numbers)):
        raise ConfigError(
            f"{name}={value!r} is no number and no list of numbers",
            f"write one number, or one a layer joined by '-', as in {_EXAMPLES[name]!r}",
        )
    return numbers


_EXAMPLES = {"width": "512-256-256", "dropout": "0.9-0.9-0.8"}


def _one_number(name: str, value: Any) -> Any:
    if name not in _EXAMPLES or not isinstance(value, str) or "-" in value:
        return value
    (number,) = per_layer(name, value)
    return int(number) if name == "width" else number


def _refuse_inactive(config: TrialConfig, params: Mapping[str, Any]) -> None:
    for name in params:
        if name in ACTIVE and not _is_active(name, config):
            raise ConfigError(
                f"{name!r} means nothing here",
                f"it exists only for {ACTIVE[name][1]}; give it on that branch only",
            )


def _refuse_impossible(config: TrialConfig) -> None:
    _refuse_impossible_weights(config)
    _refuse_impossible_layers(config)
    if config.freeze == "lp_ft" and config.lp_epochs > config.epochs:
        raise ConfigError(
            f"lp_epochs={config.lp_epochs} is longer than epochs={config.epochs}",
            "the linear probe comes before fine-tuning; lower lp_epochs",
        )
    if config.crop and not config.resize:
        raise ConfigError(
            f"crop={config.crop} without resize",
            "the crop is measured on the resized image; give resize too, as resize=256, crop=224",
        )
    if config.crop > config.resize:
        raise ConfigError(
            f"crop={config.crop} is larger than resize={config.resize}",
            "the central square is cut from the resized image; lower crop",
        )


def _refuse_impossible_weights(config: TrialConfig) -> None:
    if config.weights != "none" and config.model in SMALL_MODELS:
        raise ConfigError(
            f"impossible combination: model={config.model!r} with weights={config.weights!r}",
            "no pretrained weights exist for it; use weights='none' on that branch",
        )
    if config.freeze != "none" and config.weights == "none":
        raise ConfigError(
            f"impossible combination: freeze={config.freeze!r} with weights='none'",
            "freezing random weights learns nothing; suggest `freeze` only where weights are "
            "pretrained, or add --set weights=imagenet",
        )


def _refuse_impossible_layers(config: TrialConfig) -> None:
    widths = per_layer("width", config.width)
    dropouts = per_layer("dropout", config.dropout)
    if config.model not in SMALL_MODELS and len(dropouts) > 1:
        raise ConfigError(
            f"dropout={config.dropout!r} lists layers, and {config.model} has one dropout",
            "give one number",
        )
    if any(width < 1 for width in widths):
        raise ConfigError(f"width={config.width!r} is not possible", "every width is 1 or more")
    if any(not 0 <= p < 1 for p in dropouts):
        raise ConfigError(
            f"dropout={config.dropout!r} is not possible", "every probability is in [0, 1)"
        )
    wanted = config.layers + _dropouts_beside_layers(config)
    if len(widths) not in (1, config.layers) or len(dropouts) not in (1, wanted):
        raise ConfigError(
            f"width={config.width!r} and dropout={config.dropout!r} do not fit together",
            f"{config.model} takes {config.layers} widths and {wanted} dropouts here, or one "
            "number for all layers",
        )


def _listed_layers(config: TrialConfig) -> int:
    """How many layers the lists tell; 0 where single numbers stand for all layers."""
    widths = len(per_layer("width", config.width))
    dropouts = len(per_layer("dropout", config.dropout)) - _dropouts_beside_layers(config)
    return max((n for n in (widths, dropouts) if n > 1), default=0)


def _dropouts_beside_layers(config: TrialConfig) -> int:
    """The CNNs have one dropout more than convolutions: the one before the output."""
    return int(config.model in ("cnn", "cnn_gap"))


def _is_active(name: str, config: TrialConfig) -> bool:
    if name == "depth" and _listed_layers(config):
        return False  # the length of the list is the depth
    return name not in ACTIVE or ACTIVE[name][0](config)


def config_id(config: TrialConfig) -> str:
    """Twelve hex digits that name a configuration, whatever its seed."""
    canonical = json.dumps(config.params(), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
