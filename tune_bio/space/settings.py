"""The settings of a study: `SETTINGS` of a search-space file."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from tune_bio.errors import ConfigError
from tune_bio.space.trial_config import METRIC_MODES
from tune_bio.space.validation import (
    Count,
    ImmutableModel,
    NonNegative,
    Positive,
    check_names,
    validated,
)


class SearchSettings(ImmutableModel):
    """The settings of a study; all of them can be overridden on the command line."""

    data: Annotated[str, Field(min_length=1)] = "phantom"
    metric: Literal[
        "val_auroc", "val_accuracy", "val_balanced_accuracy", "val_macro_f1", "val_loss"
    ] = "val_auroc"
    num_trials: Positive = 24
    max_epochs: Positive = 20
    searcher: Literal["tpe", "random", "grid", "gp"] = "tpe"
    scheduler: Literal["asha", "median", "none"] = "asha"
    grace_period: Positive = 1
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    time_budget: Annotated[float, Field(gt=0)] | None = None  # seconds
    cpus_per_trial: Annotated[float, Field(gt=0)] = 1.0
    gpus_per_trial: NonNegative | None = None  # None: 1 if the cluster has GPUs, else 0
    max_concurrent: Positive | None = None  # None: as many as fit
    checkpoint_gib: Annotated[float, Field(gt=0)] = 10.0  # disk space of a study's checkpoints
    feature_dtype: Literal["float32", "float16"] = "float32"  # storage type of frozen features
    finalists: Count | Literal["all"] = 2  # configurations that are retrained and tested
    replicates: Positive = 3  # new seeds per finalist
    resplit: bool = False  # also train finalists on new splits of train and validation
    ablate: bool = False  # compare the winner with one change at a time, under the same seeds
    controls: bool = True  # fit simple predictors and train on shuffled labels
    prevalence: Annotated[float, Field(gt=0, lt=1)] | None = None  # in the intended population
    sensitivity: Annotated[float, Field(gt=0, le=1)] | None = None  # None: Youden's threshold
    stall_timeout: Annotated[float, Field(gt=0)] = 1800.0  # seconds without a completed batch

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Build settings from values by name.

        Raises:
            ConfigError: a name is unknown, a value is out of range, or settings contradict.
        """
        check_names(values, known=set(cls.model_fields), kind="setting")
        settings = validated(cls, values, "setting")
        if settings.grace_period > settings.max_epochs:
            raise ConfigError(
                f"grace_period={settings.grace_period} is longer than max_epochs="
                f"{settings.max_epochs}",
                "no trial could be stopped early; lower --grace-period or raise --max-epochs",
            )
        option = "ablate" if settings.ablate else "resplit" if settings.resplit else ""
        if option and (settings.finalists == 0 or settings.replicates < 2):
            raise ConfigError(
                f"{option} needs a finalist with two replicates, and finalists="
                f"{settings.finalists} with replicates={settings.replicates} is too few",
                f"use at least --finalists 1 and --replicates 2, or leave --{option} out",
            )
        return settings

    @property
    def mode(self) -> str:
        """Direction in which the metric improves: "max" or "min"."""
        return METRIC_MODES[self.metric]


def rungs(settings: SearchSettings) -> tuple[int, ...]:
    """Return the epochs at which trials are compared, ascending; none without a scheduler."""
    if settings.scheduler == "none":
        return ()
    if settings.scheduler == "median":
        return tuple(range(settings.grace_period, settings.max_epochs))
    epochs: list[int] = []
    rung = settings.grace_period
    while rung < settings.max_epochs:
        epochs.append(rung)
        rung *= settings.reduction_factor
    return tuple(epochs)
