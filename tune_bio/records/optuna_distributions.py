"""The hyperparameters that a study varies, as Optuna's distributions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tune_bio.space.search_space import Choices, Distribution
from tune_bio.space.trial_config import TrialConfig, Value

LOG_FROM = 100  # ratio of the largest to the smallest number of a list, which states no scale


def searched_distributions(
    distributions: Mapping[str, Sequence[Distribution]], configs: Iterable[TrialConfig]
) -> dict[str, BaseDistribution]:
    """Return one distribution per hyperparameter of a search space, spanning all its branches.

    Choices are extended by the values of `configs`, one configuration per branch: the default on a
    branch that does not suggest the hyperparameter, a number of epochs that is capped. A
    range is not extended: a default of 0 would undo its log scale. Hyperparameters with one value
    are left out.
    """
    values = _values_by_name(configs)
    spans = {
        name: _span(branches, values.get(name, ())) for name, branches in distributions.items()
    }
    return {name: span for name, span in spans.items() if not span.single()}


def listed_distributions(configs: Sequence[TrialConfig]) -> dict[str, BaseDistribution]:
    """Return one distribution per hyperparameter that varies in a list of configurations."""
    spans = {name: _listed_span(values) for name, values in _values_by_name(configs).items()}
    return {name: span for name, span in spans.items() if not span.single()}


def _values_by_name(configs: Iterable[TrialConfig]) -> dict[str, list[Value]]:
    values: dict[str, list[Value]] = {}
    for config in configs:
        for name, value in config.params().items():
            values.setdefault(name, []).append(value)
    return values


def _listed_span(values: Sequence[Value]) -> BaseDistribution:
    numbers = [value for value in values if not isinstance(value, str)]
    if len(numbers) < len(values):
        return _choices(values)
    low, high = min(numbers), max(numbers)
    log = low > 0 and high / low >= LOG_FROM
    if all(isinstance(value, int) for value in numbers):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def _span(branches: Sequence[Distribution], values: Sequence[Value]) -> BaseDistribution:
    choices = [
        value for branch in branches if isinstance(branch, Choices) for value in branch.values
    ]
    ranges = [branch for branch in branches if not isinstance(branch, Choices)]
    numbers = [value for value in choices if not isinstance(value, str)]
    if not ranges or len(numbers) < len(choices):
        return _choices([*choices, *values])
    low = min([*(branch.low for branch in ranges), *numbers])
    high = max([*(branch.high for branch in ranges), *numbers])
    log = low > 0 and all(branch.log for branch in ranges)
    if all(branch.integer for branch in ranges) and all(isinstance(n, int) for n in numbers):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def _choices(values: Iterable[Value]) -> CategoricalDistribution:
    unique: dict[Value, Value] = {}
    for value in values:
        unique.setdefault(_canonical(value), value)
    return CategoricalDistribution(tuple(unique.values()))


def drawn_value(distribution: BaseDistribution, value: Value | None) -> Value | None:
    """Return a value as Optuna would have drawn it; None if it is inactive or out of range."""
    if value is None:
        return None
    if isinstance(distribution, CategoricalDistribution):
        choices: dict[Value, Any] = {_canonical(c): c for c in distribution.choices}
        choice: Value | None = choices.get(_canonical(value))
        return choice
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if isinstance(value, str) or not distribution.low <= value <= distribution.high:
        return None
    return int(value) if isinstance(distribution, IntDistribution) else float(value)


def _canonical(value: Any) -> Value:
    """Return 64, 64.0 and "64" as one value: a column of a table has one type."""
    try:
        return float(value)
    except ValueError:
        return str(value)
