"""The survey of a search space: every branch walked once, before anything is drawn.

It tells which configurations a grid has, which weights are needed, which image sizes occur, and
whether some branch leads to an impossible combination, all before the first trial.
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

# A space of five hyperparameters with five choices each has 3,125 leaves; this many take seconds.
WALK_LIMIT = 20_000


@dataclass(frozen=True)
class Branches:
    """What a walk over a space's branches found.

    `leaves` holds one configuration a branch, a number from a range standing at its low end, and
    `highs` the same with all of them at their high end;
    `distributions` what each hyperparameter may be, over all branches; `complete` is False where
    the walk ended at its limit.
    """

    leaves: tuple[Params, ...]
    highs: tuple[Params, ...]
    distributions: Mapping[str, tuple[Distribution, ...]]
    complete: bool

    def values(self, name: str) -> tuple[Value, ...]:
        """Every value of `name` in the leaves, in the order of appearance."""
        return tuple(dict.fromkeys(leaf[name] for leaf in self.leaves if name in leaf))

    @property
    def pairs(self) -> tuple[ModelWeights, ...]:
        """The pairs of model and pretrained weights that the space can reach."""
        found = ((str(leaf["model"]), str(leaf.get("weights", "none"))) for leaf in self.leaves)
        return tuple(dict.fromkeys(pair for pair in found if pair[1] != "none"))


def walk_branches(space: SearchSpace, limit: int = WALK_LIMIT) -> Branches:
    """Walk `space` over every branch (at most `limit`), and check each configuration.

    Raises:
        InputError: a branch leads to an impossible combination, or to no model.
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
        for name, distribution in walker.seen:
            distributions.setdefault(name, {})[distribution] = None
        leaves.append(params)
        highs.append(_at_high_end(space, params, walker.seen))
        _check(space, leaves[-1])
        _check(space, highs[-1])
    complete = walker.exhausted
    if complete:
        _refuse_idle_pins(space, leaves)
    merged = {name: tuple(found) for name, found in distributions.items()}
    return Branches(tuple(leaves), tuple(highs), merged, complete)


def without_unavailable(space: SearchSpace, missing: frozenset[ModelWeights]) -> SearchSpace:
    """`space`, never drawing a pair of `missing`, nor a model that nothing is left for."""
    reduced = replace(space, missing=missing)
    models = {str(model) for model in walk_branches(space).values("model")}
    alive = {str(model) for model in walk_branches(reduced).values("model")}
    return replace(reduced, dead_models=frozenset(models - alive))


def grid(space: SearchSpace) -> tuple[Params, ...]:
    """Every configuration of a space that has nothing but choices; raises SpaceError."""
    found = walk_branches(space)
    for name, distributions in found.distributions.items():
        if any(isinstance(distribution, Range) for distribution in distributions):
            raise SpaceError(
                f"{name!r} is a range, and a grid needs choices",
                f"suggest_categorical({name!r}, [...]), pin it by --set, or use another searcher",
            )
    if not found.complete:
        raise SpaceError(
            f"the grid has more than {WALK_LIMIT} configurations",
            "leave out choices, pin some with --set, or use --searcher tpe",
        )
    return found.leaves


class _Walker:
    """A value source that replays a prefix of choices and takes the first of every new one."""

    def __init__(self) -> None:
        self._path: list[int] = []
        self._sizes: list[int] = []
        self.seen: list[tuple[str, Distribution]] = []
        self.exhausted = False

    def branches(self) -> Iterator[None]:
        """Yield once a branch; between two, the last choice that has a successor moves on."""
        while True:
            self._sizes, self.seen = [], []
            yield
            self._path = self._path[: len(self._sizes)]
            while self._path and self._path[-1] + 1 == self._sizes[len(self._path) - 1]:
                self._path.pop()
            if not self._path:
                self.exhausted = True
                return
            self._path[-1] += 1

    def draw(self, name: str, distribution: Distribution) -> Value:
        self.seen.append((name, distribution))
        if isinstance(distribution, Range):
            return int(distribution.low) if distribution.integer else distribution.low
        at = len(self._sizes)
        self._sizes.append(len(distribution.values))
        if at == len(self._path):
            self._path.append(0)
        return distribution.values[self._path[at]]


def _at_high_end(
    space: SearchSpace, params: Params, seen: list[tuple[str, Distribution]]
) -> Params:
    highs = {
        name: int(d.high) if d.integer else d.high
        for name, d in seen
        if isinstance(d, Range) and name not in space.pins
    }
    return {**params, **highs}


def _check(space: SearchSpace, params: Params) -> None:
    if "model" not in params:
        raise SpaceError(
            f"{space.path.name} suggests no model", "suggest 'model' in it, or add --set model=NAME"
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
                f"--set {name}={value} means nothing in {space.path.name}",
                "no branch of the space has this hyperparameter; leave it out",
            )


def hyperparameter_summary(found: Branches) -> dict[str, str]:
    """Each hyperparameter of the space with what it may be, for people."""
    text = {}
    for name, distributions in found.distributions.items():
        choices = [v for d in distributions if isinstance(d, Choices) for v in d.values]
        ranges = [str(d) for d in distributions if isinstance(d, Range)]
        text[name] = ", ".join([*dict.fromkeys(str(v) for v in choices), *dict.fromkeys(ranges)])
    return text
