"""What one trial trains, and what one study searches: frozen, validated, nothing else.

`TrialConfig.of(params)` is the one way to a configuration: it refuses keys that are unknown,
values that are out of range, combinations that are impossible, and hyperparameters that mean
nothing beside the others (`gamma` under a cosine schedule). `params()` gives back what is active.
"""

import difflib
import json
import math
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tune_bio.errors import ConfigError, NotBuiltError

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

# Values that the contract names and this version lacks: said as such, not as "unknown".
NOT_BUILT: dict[str, tuple[str, ...]] = {
    "freeze": ("backbone_bn", "gradual"),
    "lr_schedule": ("onecycle",),
    "augment": ("flip", "jitter", "affine", "trivial"),
    "searcher": ("gp",),
    "scheduler": ("median",),
}
NOT_BUILT_NAMES = ("resize", "crop", "unfreeze_every")

M = TypeVar("M", bound=BaseModel)
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class _Frozen(BaseModel):
    # Exact types: `True` is not a number of epochs, and "3" in a JSON file is a mistake.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class TrialConfig(_Frozen):
    """One trial's hyperparameters. The field's names and units are those of the tables.

    Per-layer values are written "512-256-256": the number of entries is then the depth.
    """

    model: Annotated[str, Field(min_length=1)]
    weights: Literal["none", "imagenet", "IMAGENET1K_V1", "IMAGENET1K_V2"] = "none"
    freeze: Literal["none", "backbone", "lp_ft"] = "none"
    lp_epochs: Annotated[int, Field(ge=0)] = 0  # 0: a quarter of `epochs`, rounded up
    depth: Annotated[int, Field(ge=1, le=64)] = 3
    width: int | str = 64
    dropout: float | str = 0.2
    loss: Literal["cross_entropy", "bce"] = "cross_entropy"
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0, le=100)] = 1e-3
    weight_decay: NonNegative = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    lr_schedule: Literal["constant", "step", "cosine"] = "constant"
    step_size: Positive = 10
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    batch_size: Annotated[int, Field(ge=2)] = 32  # BatchNorm cannot train on one image
    epochs: Positive = 20
    patience: Annotated[int, Field(ge=0)] = 0  # 0: the trial never ends by itself before `epochs`
    augment: Literal["none"] = "none"
    image_size: Annotated[int, Field(ge=8, le=4096)] = 64
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Self:
        """Build a configuration from the hyperparameters given; the others take their defaults.

        Raises:
            ConfigError: unknown, inactive or out-of-range key, or an impossible combination.
            NotBuiltError: a value that the contract names and this version lacks.
        """
        check_names(params, known=HYPERPARAMETERS | {"seed"}, kind="hyperparameter")
        # "64" and 64 are one configuration, and have one fingerprint.
        params = {name: _one_number(name, value) for name, value in params.items()}
        values = {"width": DEFAULT_WIDTHS.get(str(params.get("model")), 64), **params}
        config = _validated(cls, values, "hyperparameter")
        if config.freeze == "lp_ft" and config.lp_epochs == 0:
            config = config.model_copy(update={"lp_epochs": math.ceil(config.epochs / 4)})
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
        """One dropout probability a layer."""
        given = per_layer("dropout", self.dropout)
        return given if len(given) > 1 else given * self.layers

    @property
    def layers(self) -> int:
        """Hidden blocks of the ANN, convolutions of the CNNs; 1 for the model zoo's heads."""
        if self.model not in SMALL_MODELS:
            return 1
        return _lists(self) or (self.depth if self.model == "ann" else 3)


class SearchSettings(_Frozen):
    """What a study does; everything here can be overridden on the command line."""

    data: Annotated[str, Field(min_length=1)] = "phantom"
    metric: Literal[
        "val_auroc", "val_accuracy", "val_balanced_accuracy", "val_macro_f1", "val_loss"
    ] = "val_auroc"
    num_trials: Positive = 24
    max_epochs: Positive = 20
    searcher: Literal["tpe", "random", "grid"] = "tpe"
    scheduler: Literal["asha", "none"] = "asha"
    grace_period: Positive = 1
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    time_budget: Annotated[float, Field(gt=0)] | None = None  # seconds
    cpus_per_trial: Annotated[float, Field(gt=0)] = 1.0
    gpus_per_trial: NonNegative | None = None  # None: one where the cluster has any, else none
    max_concurrent: Positive | None = None  # None: as many as fit
    stall_timeout: Annotated[float, Field(gt=0)] = 1800.0  # seconds without a finished batch

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Build settings; raises ConfigError as `TrialConfig.of` does."""
        check_names(values, known=set(cls.model_fields), kind="setting")
        settings = _validated(cls, values, "setting")
        if settings.grace_period > settings.max_epochs:
            raise ConfigError(
                f"grace_period={settings.grace_period} is longer than max_epochs="
                f"{settings.max_epochs}",
                "no trial could be stopped early; lower --grace-period or raise --max-epochs",
            )
        return settings

    @property
    def mode(self) -> str:
        """ "max" or "min": which way the metric improves."""
        return METRIC_MODES[self.metric]


_FIELD_ORDER = tuple(name for name in TrialConfig.model_fields if name != "seed")
HYPERPARAMETERS: frozenset[str] = frozenset(_FIELD_ORDER)

# When a hyperparameter means something; those not named here always do.
ACTIVE: dict[str, tuple[Callable[[TrialConfig], bool], str]] = {
    "lp_epochs": (lambda c: c.freeze == "lp_ft", "freeze='lp_ft'"),
    "depth": (lambda c: c.model == "ann", "model='ann'"),
    "width": (lambda c: c.model in SMALL_MODELS, "the models ann, cnn and cnn_gap"),
    "momentum": (lambda c: c.optimizer == "sgd", "optimizer='sgd'"),
    "step_size": (lambda c: c.lr_schedule == "step", "lr_schedule='step'"),
    "gamma": (lambda c: c.lr_schedule == "step", "lr_schedule='step'"),
}


def hyperparameter_names() -> tuple[str, ...]:
    """Every hyperparameter but the seed, in the order of the tables."""
    return _FIELD_ORDER


def is_inactive(name: str, params: Mapping[str, Any]) -> bool:
    """Whether `name` would mean nothing beside `params` (which need not contain it)."""
    others = {key: value for key, value in params.items() if key != name}
    return not _is_active(name, TrialConfig.model_construct(**others))


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


def parse_assignment(text: str) -> tuple[str, Value]:
    """Read KEY=VALUE; numbers and true/false as in JSON, all else a string."""
    key, separator, raw = text.partition("=")
    if not separator or not key or not raw:
        raise ConfigError(f"--set {text!r} is not KEY=VALUE", "write for example --set lr=0.001")
    check_names([key], known=HYPERPARAMETERS | {"seed"}, kind="hyperparameter")
    try:
        value = json.loads(raw)
    except json.JSONDecodeError:
        value = raw
    value = value if isinstance(value, (str, int, float, bool)) else raw
    _validated(TrialConfig, {"model": "ann", key: value}, "hyperparameter")
    return key, value


def _one_number(name: str, value: Any) -> Any:
    if name not in _EXAMPLES or not isinstance(value, str) or "-" in value:
        return value
    (number,) = per_layer(name, value)
    return int(number) if name == "width" else number


def check_names(names: Collection[str], *, known: Collection[str], kind: str) -> None:
    """Raise ConfigError for the first name that is not `known`, with the nearest that is."""
    for name in names:
        if name in NOT_BUILT_NAMES:
            raise NotBuiltError(f"the {kind} {name!r} is not built yet", "leave it out")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"unknown {kind} {name!r}", f"{hint}known: {_listed(known)}")


def _validated(cls: type[M], values: Mapping[str, Any], kind: str) -> M:
    for name, unbuilt in NOT_BUILT.items():
        value = values.get(name)
        staged = name == "freeze" and str(value).startswith("stages_")
        if name in cls.model_fields and (value in unbuilt or staged):
            raise NotBuiltError(f"{name}={value!r} is not built yet", f"use {_allowed(cls, name)}")
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else kind
        if first["type"] == "missing":
            raise ConfigError(f"no {name!r} is given", f"every trial needs a {name}") from None
        remedy = _allowed(cls, name) or first["msg"][:1].lower() + first["msg"][1:]
        raise ConfigError(f"{name}={first['input']!r} is not possible", remedy) from None


def _allowed(cls: type[BaseModel], name: str) -> str:
    schema = cls.model_json_schema()["properties"][name]
    return "one of " + ", ".join(schema["enum"]) if "enum" in schema else ""


def _refuse_inactive(config: TrialConfig, params: Mapping[str, Any]) -> None:
    for name in params:
        if name in ACTIVE and not _is_active(name, config):
            raise ConfigError(
                f"{name!r} means nothing here",
                f"it exists only for {ACTIVE[name][1]}; give it on that branch only",
            )


def _refuse_impossible(config: TrialConfig) -> None:
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
    if config.freeze == "lp_ft" and config.lp_epochs > config.epochs:
        raise ConfigError(
            f"lp_epochs={config.lp_epochs} is longer than epochs={config.epochs}",
            "the linear probe comes before fine-tuning; lower lp_epochs",
        )
    if config.model != "ann" and len(per_layer("dropout", config.dropout)) > 1:
        raise ConfigError(
            f"dropout={config.dropout!r} lists layers, and {config.model} has one dropout",
            "give one number",
        )
    if any(width < 1 for width in per_layer("width", config.width)):
        raise ConfigError(f"width={config.width!r} is not possible", "every width is 1 or more")
    if any(not 0 <= p < 1 for p in per_layer("dropout", config.dropout)):
        raise ConfigError(
            f"dropout={config.dropout!r} is not possible", "every probability is in [0, 1)"
        )
    for name, count in (
        ("width", len(per_layer("width", config.width))),
        ("dropout", len(per_layer("dropout", config.dropout))),
    ):
        if count not in (1, config.layers):
            raise ConfigError(
                f"{name} lists {count} layers and the model has {config.layers}",
                "give one number for all layers, or lists of the same length",
            )


def _lists(config: TrialConfig) -> int:
    """The length of the longest list of layers; 0 where single numbers stand for all layers."""
    lengths = (len(per_layer(name, getattr(config, name))) for name in _EXAMPLES)
    longest = max(lengths)
    return longest if longest > 1 else 0


def _is_active(name: str, config: TrialConfig) -> bool:
    if name == "depth" and _lists(config):
        return False  # the length of the list is the depth
    return name not in ACTIVE or ACTIVE[name][0](config)


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
