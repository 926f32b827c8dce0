"""Sources of a search space's values: an Optuna trial, or a recorded trial."""

import optuna

from tune_bio.space.search_space import Choices, Distribution
from tune_bio.space.trial_config import Params, Value, is_same


class OptunaSource:
    """Draws values from an Optuna trial.

    Optuna allows one distribution per name, but a space may have different ones on different
    branches (or fewer choices if weights are missing). Each further distribution therefore gets a
    separate name.
    """

    def __init__(self, trial: optuna.Trial, names: dict[str, list[Distribution]]) -> None:
        self._trial = trial
        self._names = names

    def draw(self, name: str, distribution: Distribution) -> Value:
        if isinstance(distribution, Choices) and len(distribution.values) == 1:
            return distribution.values[0]
        return _suggest(self._trial, _optuna_name(self._names, name, distribution), distribution)


class RecordedSource:
    """Draws the values of a recorded trial, and collects them in `drawn` under Optuna's names."""

    def __init__(self, params: Params, names: dict[str, list[Distribution]]) -> None:
        self._params = params
        self._names = names
        self.drawn: Params = {}

    def draw(self, name: str, distribution: Distribution) -> Value:
        value = _nearest(distribution, self._params.get(name))
        if not isinstance(distribution, Choices) or len(distribution.values) > 1:
            self.drawn[_optuna_name(self._names, name, distribution)] = value
        return value


def _optuna_name(
    names: dict[str, list[Distribution]], name: str, distribution: Distribution
) -> str:
    """Return Optuna's name for this distribution of a hyperparameter."""
    known = names.setdefault(name, [])
    if distribution not in known:
        known.append(distribution)
    index = known.index(distribution)
    return name if index == 0 else f"{name}#{index + 1}"


def _nearest(distribution: Distribution, recorded: Value | None) -> Value:
    """Return the drawn value for a recorded value, which may have been capped."""
    if isinstance(distribution, Choices):
        equal = [value for value in distribution.values if is_same(value, recorded)]
        above = [
            value
            for value in distribution.values
            if isinstance(value, int | float)
            and isinstance(recorded, int | float)
            and value >= recorded
        ]
        return next(iter([*equal, *above, *distribution.values]))
    low, high, step = distribution.low, distribution.high, distribution.step
    value = float(recorded) if isinstance(recorded, int | float) else low
    value = min(max(value, low), high)
    if step is not None:
        value = low + round((value - low) / step) * step
    return int(value) if distribution.integer else value


def _suggest(trial: optuna.Trial, name: str, distribution: Distribution) -> Value:
    if isinstance(distribution, Choices):
        value: Value = trial.suggest_categorical(name, distribution.values)  # type: ignore[assignment]
        return value
    low, high, log = distribution.low, distribution.high, distribution.log
    if distribution.integer:
        return trial.suggest_int(
            name, int(low), int(high), step=int(distribution.step or 1), log=log
        )
    return trial.suggest_float(name, low, high, step=distribution.step, log=log)
