"""Enumeration of a search space: every branch is walked once before anything is drawn.

The walk finds the configurations of a grid, the weights that are needed, the image sizes that
occur, and any branch with an impossible combination, all before the first trial.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tune_bio.errors import ConfigError, InputError, SpaceError
from tune_bio.space.search_space import (
    Choices,
    Distribution,
    ModelWeights,
    Range,
    SearchSpace,
    UnavailableBranch,
)
from tune_bio.space.trial_config import Params, TrialConfig, Value

# Five hyperparameters with five choices each have 3,125 leaves; this limit takes seconds.
WALK_LIMIT = 20_000


@dataclass(frozen=True)
class Branches:
    """The result of a walk over a space's branches.

    leaves: one configuration per branch, with each number of a range at its low end.
    highs: the same configurations, with each number of a range at its high end.
    distributions: the distributions of each hyperparameter, over all branches.
    complete: False if the walk ended at its limit.
    """

    leaves: tuple[Params, ...]
    highs: tuple[Params, ...]
    distributions: Mapping[str, tuple[Distribution, ...]]
    complete: bool

    def values(self, name: str) -> tuple[Value, ...]:
        """Return the distinct values of `name` in the leaves, in order of appearance."""
        return tuple(dict.fromkeys(leaf[name] for leaf in self.leaves if name in leaf))

    @property
    def pairs(self) -> tuple[ModelWeights, ...]:
        """The pairs of model and pretrained weights that the space can reach."""
        pairs = ((str(leaf["model"]), str(leaf.get("weights", "none"))) for leaf in self.leaves)
        return tuple(dict.fromkeys(pair for pair in pairs if pair[1] != "none"))


def walk_branches(space: SearchSpace, limit: int = WALK_LIMIT) -> Branches:
    """Walk every branch of `space` (at most `limit`) and check each configuration.

    Raises:
        InputError: a branch has an impossible combination or suggests no model.
    """
    leaves: list[Params] = []
    highs: list[Params] = []
    distributions: dict[str, dict[Distribution, None]] = {}
    walker = _Walker()
    for _ in walker.branches():
        if len(leaves) == limit:
            break
        try:
            params = space.run(walker)
        except UnavailableBranch:
            continue
        for name, distribution in walker.draws:
            distributions.setdefault(name, {})[distribution] = None
        leaves.append(params)
        highs.append(_at_high_end(space, params, walker.draws))
        _check(space, leaves[-1])
        _check(space, highs[-1])
    complete = walker.exhausted
    if complete:
        _refuse_idle_pins(space, leaves)
    merged = {name: tuple(distinct) for name, distinct in distributions.items()}
    return Branches(tuple(leaves), tuple(highs), merged, complete)


def without_unavailable(space: SearchSpace, missing: frozenset[ModelWeights]) -> SearchSpace:
    """Return `space` without the pairs in `missing` and without models that have no weights left.

    Neither is ever drawn from the returned space.
    """
    reduced = replace(space, missing=missing)
    models = {str(model) for model in walk_branches(space).values("model")}
    available = {str(model) for model in walk_branches(reduced).values("model")}
    return replace(reduced, unavailable_models=frozenset(models - available))


def grid(space: SearchSpace) -> tuple[Params, ...]:
    """Return every configuration of a space that consists of choices only.

    Raises:
        SpaceError: a hyperparameter is a range, or there are too many configurations.
    """
    branches = walk_branches(space)
    for name, distributions in branches.distributions.items():
        if any(isinstance(distribution, Range) for distribution in distributions):
            raise SpaceError(
                f"{name!r} is a range, and a grid needs choices",
                f"suggest_categorical({name!r}, [...]), fix it with --set, or use another searcher",
            )
    if not branches.complete:
        raise SpaceError(
            f"the grid has more than {WALK_LIMIT} configurations",
            "remove choices, fix some with --set, or use --searcher tpe",
        )
    return branches.leaves


class _Walker:
    """A value source that replays a prefix of choices and takes the first option of all others."""

    def __init__(self) -> None:
        self._path: list[int] = []
        self._sizes: list[int] = []
        self.draws: list[tuple[str, Distribution]] = []
        self.exhausted = False

    def branches(self) -> Iterator[None]:
        """Yield once per branch; between branches, advance the last choice that has a successor."""
        while True:
            self._sizes, self.draws = [], []
            yield
            self._path = self._path[: len(self._sizes)]
            while self._path and self._path[-1] + 1 == self._sizes[len(self._path) - 1]:
                self._path.pop()
            if not self._path:
                self.exhausted = True
                return
            self._path[-1] += 1

    def draw(self, name: str, distribution: Distribution) -> Value:
        self.draws.append((name, distribution))
        if isinstance(distribution, Range):
            return int(distribution.low) if distribution.integer else distribution.low
        position = len(self._sizes)
        self._sizes.append(len(distribution.values))
        if position == len(self._path):
            self._path.append(0)
        return distribution.values[self._path[position]]


def _at_high_end(
    space: SearchSpace, params: Params, draws: list[tuple[str, Distribution]]
) -> Params:
    highs = {
        name: int(d.high) if d.integer else d.high
        for name, d in draws
        if isinstance(d, Range) and name not in space.pins
    }
    return {**params, **highs}


def _check(space: SearchSpace, params: Params) -> None:
    if "model" not in params:
        raise SpaceError(
            f"{space.path.name} suggests no model", "suggest 'model' in it or add --set model=NAME"
        )
    try:
        TrialConfig.of(params)
    except InputError as error:
        branch = ", ".join(f"{name}={value}" for name, value in params.items())
        raise type(error)(f"{error.fault} (reached at {branch})", error.remedy) from error


def _refuse_idle_pins(space: SearchSpace, leaves: list[Params]) -> None:
    for name, value in space.pins.items():
        if leaves and not any(name in leaf for leaf in leaves):
            raise ConfigError(
                f"--set {name}={value} has no effect in {space.path.name}",
                "no branch of the space has this hyperparameter; leave it out",
            )


def hyperparameter_summary(branches: Branches) -> dict[str, str]:
    """Return each hyperparameter of the space with its choices and ranges as readable text."""
    summary = {}
    for name, distributions in branches.distributions.items():
        choices = [v for d in distributions if isinstance(d, Choices) for v in d.values]
        ranges = [str(d) for d in distributions if isinstance(d, Range)]
        summary[name] = ", ".join([*dict.fromkeys(str(v) for v in choices), *dict.fromkeys(ranges)])
    return summary
