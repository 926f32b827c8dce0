"""A study that can start, as everything behind preflight reads it."""

from collections.abc import Iterable
from dataclasses import dataclass

from tune_bio.datasets.audit.findings import Audit
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.sources.collection import default_geometries
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.models.weights.published import Resolved
from tune_bio.ray_tune.resources import Allotment, Node
from tune_bio.space.branches import Branches, hyperparameter_summary
from tune_bio.space.search_space import Choices, SearchSpace
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import Params, TrialConfig, config_id
from tune_bio.study.request import Request


@dataclass(frozen=True)
class NotRun:
    """A configuration of a list that is left out, with all its hyperparameters, and why."""

    params: Params
    reason: str


@dataclass(frozen=True)
class Plan:
    """A study that can start: nothing in it is missing or impossible.

    `listed` holds the configurations of a grid or of `--configs`; `left_out` tells what was
    asked for and will not be run, and why; `not_run` those of the list whose weights cannot be had.
    """

    request: Request
    space: SearchSpace
    settings: SearchSettings
    branches: Branches
    listed: tuple[Params, ...] | None
    dataset: Dataset
    weights: Resolved
    nodes: tuple[Node, ...]
    allotment: Allotment
    trials: int
    left_out: tuple[str, ...]
    audit: Audit
    not_run: tuple[NotRun, ...] = ()

    def finish(self, params: Params) -> Params:
        """Complete drawn hyperparameters with what the study sets."""
        return finish(params, self.settings, self.dataset.size)

    @property
    def selects_nothing(self) -> bool:
        """Whether every configuration of a list is confirmed: none was chosen by its score."""
        return self.listed is not None and self.settings.finalists == "all"

    @property
    def searched(self) -> tuple[str, ...]:
        """The hyperparameters that tell the study's trials apart."""
        if self.listed is None:
            return tuple(self.branches.distributions)
        values: dict[str, set[object]] = {}
        for params in map(self.finish, self.listed):
            for name, value in params.items():
                values.setdefault(name, set()).add(value)
        return tuple(name for name, seen in values.items() if len(seen) > 1 or name == "model")

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """Every geometry that occurs."""
        params = self.listed if self.listed is not None else self.branches.leaves
        return tuple(dict.fromkeys(geometry_of(p, self.dataset.size) for p in params))


def finish(params: Params, settings: SearchSettings, size: int) -> Params:
    """Complete drawn hyperparameters: length, image size, seed; all of them checked.

    `size` is the images' shorter side in pixels.
    """
    epochs = min(int(params.get("epochs", settings.max_epochs)), settings.max_epochs)
    side = geometry_of(params, size).image_size
    complete = {"image_size": side, "seed": settings.seed, **params, "epochs": epochs}
    config = TrialConfig.of(complete)
    return {**config.params(), "seed": config.seed}


def geometry_of(params: Params, size: int) -> Geometry:
    """The geometry of drawn hyperparameters, on images whose shorter side is `size`.

    Where no image size is drawn, it is that of the crop, else of the resized image, else the
    images' own up to a limit.
    """
    resize, crop = int(params.get("resize", 0)), int(params.get("crop", 0))
    side = params.get("image_size") or crop or resize or default_geometries(size)[0].image_size
    return Geometry(int(side), resize, crop)


def deduplicate(
    listed: Iterable[Params], settings: SearchSettings, size: int
) -> tuple[tuple[Params, ...], int]:
    """Configurations of a list, each once, and how many stood there again."""
    unique: dict[tuple[str, int], Params] = {}
    count = 0
    for params in listed:
        config = TrialConfig.of(finish(params, settings, size))
        unique.setdefault((config_id(config), config.seed), params)
        count += 1
    return tuple(unique.values()), count - len(unique)


def space_summary(plan: Plan) -> dict[str, str]:
    """Each hyperparameter of the study, for people; pins included."""
    pinned = {name: f"{value} (pinned)" for name, value in plan.space.pins.items()}
    return {**hyperparameter_summary(plan.branches), **pinned}


CHOICES = 4  # of one hyperparameter, beside the winner's: an ablation tries no more


@dataclass(frozen=True)
class FollowUpTrials:
    """Trials behind the search's own, at most: what ends well decides how many there are."""

    replicates: int
    resplits: int
    changes: int

    @property
    def trials(self) -> int:
        """All of them."""
        return self.replicates + self.resplits + self.changes


def follow_up_trials(plan: Plan) -> FollowUpTrials:
    """The finalists under fresh seeds and on re-splits, and the winner's changes."""
    wanted, seeds = plan.settings.finalists, plan.settings.replicates
    finalists = plan.trials if wanted == "all" else min(wanted, plan.trials)
    fresh = seeds - 1 if plan.selects_nothing else seeds  # the search's own is one of them
    return FollowUpTrials(
        replicates=finalists * fresh,
        resplits=finalists * seeds if plan.settings.resplit else 0,
        changes=_changes(plan) * seeds if plan.settings.ablate else 0,
    )


def _changes(plan: Plan) -> int:
    """Of each hyperparameter its other choices, or two other numbers."""
    if plan.selects_nothing:
        return 0
    if plan.listed is not None:
        return len(plan.listed) * len(plan.searched)
    distributions = plan.branches.distributions.values()
    return sum(
        max(min(len(d.values) - 1, CHOICES) if isinstance(d, Choices) else 2 for d in found)
        for found in distributions
    )
