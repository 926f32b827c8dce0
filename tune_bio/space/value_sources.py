"""Where the values of a search space come from: an Optuna trial, or a trial of the records."""

import optuna

from tune_bio.space.search_space import Choices, Distribution
from tune_bio.space.trial_config import Params, Value, is_same


class OptunaSource:
    """Draws values from an Optuna trial.

    Optuna knows one distribution a name; a space may have another on another branch (or fewer
    choices, where weights are missing), so each further one gets a name of its own.
    """

    def __init__(self, trial: optuna.Trial, names: dict[str, list[Distribution]]) -> None:
        self._trial = trial
        self._names = names

    def draw(self, name: str, distribution: Distribution) -> Value:
        if isinstance(distribution, Choices) and len(distribution.values) == 1:
            return distribution.values[0]
        return _suggest(self._trial, _own_name(self._names, name, distribution), distribution)


class RecordedSource:
    """Draws what a trial of the records has drawn, under Optuna's names in `drawn`."""

    def __init__(self, params: Params, names: dict[str, list[Distribution]]) -> None:
        self._params = params
        self._names = names
        self.drawn: Params = {}

    def draw(self, name: str, distribution: Distribution) -> Value:
        value = _nearest(distribution, self._params.get(name))
        if not isinstance(distribution, Choices) or len(distribution.values) > 1:
            self.drawn[_own_name(self._names, name, distribution)] = value
        return value


def _own_name(names: dict[str, list[Distribution]], name: str, wanted: Distribution) -> str:
    """The name under which Optuna knows this distribution of a hyperparameter."""
    known = names.setdefault(name, [])
    if wanted not in known:
        known.append(wanted)
    at = known.index(wanted)
    return name if at == 0 else f"{name}#{at + 1}"


def _nearest(distribution: Distribution, recorded: Value | None) -> Value:
    """The value that was drawn, from the one on record, which may have been capped."""
    if isinstance(distribution, Choices):
        alike = [value for value in distribution.values if is_same(value, recorded)]
        above = [
            value
            for value in distribution.values
            if isinstance(value, int | float)
            and isinstance(recorded, int | float)
            and value >= recorded
        ]
        return next(iter([*alike, *above, *distribution.values]))
    low, high, step = distribution.low, distribution.high, distribution.step
    value = float(recorded) if isinstance(recorded, int | float) else low
    value = min(max(value, low), high)
    if step is not None:
        value = low + round((value - low) / step) * step
    return int(value) if distribution.integer else value


def _suggest(trial: optuna.Trial, name: str, wanted: Distribution) -> Value:
    if isinstance(wanted, Choices):
        value: Value = trial.suggest_categorical(name, wanted.values)  # type: ignore[assignment]
        return value
    low, high, log = wanted.low, wanted.high, wanted.log
    if wanted.integer:
        return trial.suggest_int(name, int(low), int(high), step=int(wanted.step or 1), log=log)
    return trial.suggest_float(name, low, high, step=wanted.step, log=log)
