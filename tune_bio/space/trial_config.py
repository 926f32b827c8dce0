"""The configuration of a trial: validated, immutable hyperparameters.

`TrialConfig.of(params)` is the only way to create a configuration: it rejects unknown keys, values
out of range, impossible combinations, and hyperparameters without effect (such as `gamma` under a
cosine schedule). `params()` returns the active hyperparameters.
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
# Score of a trial without one, such as a diverged trial: neither ASHA nor Optuna can rank NaN.
WORST = {"max": 0.0, "min": 1e6}
# Schedules whose learning rate at an epoch depends on the length of the trial.
LENGTH_BOUND_SCHEDULES = ("cosine", "onecycle")
FREEZE = ("none", "backbone", "backbone_bn", "stages_K (K from 1)", "lp_ft", "gradual")


class TrialConfig(ImmutableModel):
    """The hyperparameters of a trial, with the names and units of the tables.

    Per-layer values are written "512-256-256"; the number of entries is then the number of layers.
    The CNNs take one dropout per convolution and one more before the output.
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
    unfreeze_every: Positive = 2  # epochs between unfreezing two stages under `gradual`
    depth: Annotated[int, Field(ge=1, le=64)] = 3
    width: int | str = 64
    head_width: Count = 0  # width of the hidden layer in the CNNs' head; 0: no hidden layer
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
    patience: Count = 0  # 0: no early stopping
    augment: Literal["none", "flip", "jitter", "affine", "trivial"] = "none"
    image_size: Annotated[int, Field(ge=8, le=4096)] = 64
    resize: Annotated[int, Field(ge=0, le=8192)] = 0  # 0: resize directly to `image_size`
    crop: Annotated[int, Field(ge=0, le=8192)] = 0  # 0: no crop
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Self:
        """Build a configuration from hyperparameters; missing ones take their defaults.

        Raises:
            ConfigError: unknown, inactive or out-of-range key, or an impossible combination.
        """
        check_names(params, known=HYPERPARAMETERS | {"seed"}, kind="hyperparameter")
        # "64" and 64 are the same configuration and have the same config_id.
        params = {name: _normalize_number(name, value) for name, value in params.items()}
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
        """Return the active hyperparameters with their values, without the seed."""
        return {name: getattr(self, name) for name in _FIELD_ORDER if _is_active(name, self)}

    def all_params(self) -> Params:
        """Return the active hyperparameters with their values, and the seed."""
        return {**self.params(), "seed": self.seed}

    def with_seed(self, seed: int) -> "TrialConfig":
        """Return the same configuration under another seed."""
        return self.model_copy(update={"seed": seed})

    @property
    def config_id(self) -> str:
        """Twelve hex digits that identify a configuration, whatever its seed."""
        canonical = json.dumps(self.params(), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def widths(self) -> tuple[int, ...]:
        """The width of each layer."""
        widths = tuple(int(width) for width in per_layer("width", self.width))
        return widths if len(widths) > 1 else widths * self.layers

    @property
    def dropouts(self) -> tuple[float, ...]:
        """The dropout probability of each layer; the CNNs have one more, before the output.

        A single number applies to every hidden block of the ANN. In the CNNs it applies after the
        last convolution and before the output, as in the course report that they come from.
        """
        dropouts = per_layer("dropout", self.dropout)
        if len(dropouts) > 1:
            return dropouts
        if self.model in ("cnn", "cnn_gap"):
            return (0.0,) * (self.layers - 1) + dropouts * 2
        return dropouts * self.layers

    @property
    def layers(self) -> int:
        """The number of hidden blocks (ANN) or convolutions (CNNs); 1 for the model zoo's heads."""
        if self.model not in SMALL_MODELS:
            return 1
        return _listed_layers(self) or (self.depth if self.model == "ann" else 3)

    @property
    def frozen_stages(self) -> int:
        """The number K in freeze="stages_K", else 0."""
        prefix, _, number = self.freeze.partition("stages_")
        return int(number) if number and not prefix else 0


_FIELD_ORDER = tuple(name for name in TrialConfig.model_fields if name != "seed")
HYPERPARAMETERS: frozenset[str] = frozenset(_FIELD_ORDER)

# Conditions under which a hyperparameter is active; those not listed here always are.
ACTIVE: dict[str, tuple[Callable[[TrialConfig], bool], str]] = {
    "lp_epochs": (lambda c: c.freeze == "lp_ft", "freeze='lp_ft'"),
    "unfreeze_every": (lambda c: c.freeze == "gradual", "freeze='gradual'"),
    "depth": (lambda c: c.model == "ann", "model='ann'"),
    "width": (lambda c: c.model in SMALL_MODELS, "the models ann, cnn and cnn_gap"),
    "head_width": (lambda c: c.model in ("cnn", "cnn_gap"), "the models cnn and cnn_gap"),
    "momentum": (
        lambda c: c.optimizer == "sgd" and c.lr_schedule != "onecycle",
        "optimizer='sgd' under a schedule other than onecycle, which varies the momentum itself",
    ),
    "step_size": (lambda c: c.lr_schedule == "step", "lr_schedule='step'"),
    "gamma": (lambda c: c.lr_schedule == "step", "lr_schedule='step'"),
    "warmup_epochs": (
        lambda c: c.lr_schedule != "onecycle",
        "the schedules constant, step and cosine (onecycle has its own warm-up)",
    ),
}


def hyperparameter_names() -> tuple[str, ...]:
    """Return every hyperparameter except the seed, in the order of the tables."""
    return _FIELD_ORDER


def is_inactive(name: str, params: Mapping[str, Any]) -> bool:
    """Return True if `name` has no effect with `params`, which need not contain it."""
    others = {key: value for key, value in params.items() if key != name}
    return not _is_active(name, TrialConfig.model_construct(**others))


def format_value(value: Value) -> str:
    """Format a hyperparameter's value for people.

    Integers may arrive as floats, since a table column with missing values is a float column.
    """
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.3g}"


def is_same(a: Value | None, b: Value | None) -> bool:
    """Return True if two hyperparameter values are equal, such as 0 and 0.0, or 64 and "64"."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b and isinstance(a, bool) == isinstance(b, bool)
    return str(a) == str(b)


def per_layer(name: str, value: float | str) -> tuple[float, ...]:
    """Parse one number, or a list such as "512-256-256"; raise ConfigError if it is neither."""
    if not isinstance(value, str):
        return (float(value),)
    try:
        numbers = tuple(float(part) for part in value.split("-"))
    except ValueError:
        numbers = ()
    integers = name != "width" or all(number.is_integer() for number in numbers)
    if not numbers or not integers or not all(map(math.isfinite, numbers)):
        raise ConfigError(
            f"{name}={value!r} is neither a number nor a list of numbers",
            f"write one number, or one per layer joined by '-', as in {_EXAMPLES[name]!r}",
        )
    return numbers


_EXAMPLES = {"width": "512-256-256", "dropout": "0.9-0.9-0.8"}


def _normalize_number(name: str, value: Any) -> Any:
    """Return a number for the string of a single number; other values are returned unchanged."""
    if name not in _EXAMPLES or not isinstance(value, str) or "-" in value:
        return value
    (number,) = per_layer(name, value)
    return int(number) if name == "width" else number


def _refuse_inactive(config: TrialConfig, params: Mapping[str, Any]) -> None:
    for name in params:
        if name in ACTIVE and not _is_active(name, config):
            raise ConfigError(
                f"{name!r} has no effect here",
                f"it applies only with {ACTIVE[name][1]}; use it only on that branch",
            )


def _refuse_impossible(config: TrialConfig) -> None:
    _refuse_impossible_weights(config)
    _refuse_impossible_layers(config)
    if config.freeze == "lp_ft" and config.lp_epochs > config.epochs:
        raise ConfigError(
            f"lp_epochs={config.lp_epochs} is longer than epochs={config.epochs}",
            "the linear probe is part of the trial's epochs; lower lp_epochs",
        )
    if config.crop and not config.resize:
        raise ConfigError(
            f"crop={config.crop} without resize",
            "the crop is cut from the resized image; set resize too, such as resize=256, crop=224",
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
            "this model has no pretrained weights; use weights='none' on that branch",
        )
    if config.freeze != "none" and config.weights == "none":
        raise ConfigError(
            f"impossible combination: freeze={config.freeze!r} with weights='none'",
            "frozen random weights learn nothing; suggest `freeze` only where weights are "
            "pretrained, or add --set weights=imagenet",
        )


def _refuse_impossible_layers(config: TrialConfig) -> None:
    widths = per_layer("width", config.width)
    dropouts = per_layer("dropout", config.dropout)
    if config.model not in SMALL_MODELS and len(dropouts) > 1:
        raise ConfigError(
            f"dropout={config.dropout!r} lists layers, but {config.model} has one dropout",
            "use one number",
        )
    if any(width < 1 for width in widths):
        raise ConfigError(f"width={config.width!r} is not possible", "widths must be at least 1")
    if any(not 0 <= p < 1 for p in dropouts):
        raise ConfigError(
            f"dropout={config.dropout!r} is not possible", "probabilities must be in [0, 1)"
        )
    required = config.layers + _extra_dropouts(config)
    if len(widths) not in (1, config.layers) or len(dropouts) not in (1, required):
        raise ConfigError(
            f"width={config.width!r} and dropout={config.dropout!r} do not fit together",
            f"{config.model} takes {config.layers} widths and {required} dropouts here, or one "
            "number for all layers",
        )


def _listed_layers(config: TrialConfig) -> int:
    """Return the number of layers in the lists; 0 if single numbers stand for all layers."""
    widths = len(per_layer("width", config.width))
    dropouts = len(per_layer("dropout", config.dropout)) - _extra_dropouts(config)
    return max((n for n in (widths, dropouts) if n > 1), default=0)


def _extra_dropouts(config: TrialConfig) -> int:
    """Return the number of dropouts beyond the layers: the CNNs have one before the output."""
    return int(config.model in ("cnn", "cnn_gap"))


def _is_active(name: str, config: TrialConfig) -> bool:
    if name == "depth" and _listed_layers(config):
        return False  # the length of the list is the depth
    return name not in ACTIVE or ACTIVE[name][0](config)
