"""A study that can start, as all steps after the preflight read it."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from tune_bio.datasets.audit.findings import Audit
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.sources.collection import default_geometries
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.models.weights.published import Resolved
from tune_bio.ray_tune.resources import Allotment, Node
from tune_bio.space.branches import Branches, hyperparameter_summary
from tune_bio.space.search_space import Choices, SearchSpace
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import Params, TrialConfig
from tune_bio.study.request import Request

CHOICES = 4  # most choices that an ablation tries per hyperparameter, besides the winner's


@dataclass(frozen=True)
class NotRun:
    """A configuration of a list that is left out, with all its hyperparameters, and the reason."""

    params: Params
    reason: str


@dataclass(frozen=True)
class Plan:
    """A study that can start: nothing in it is missing or impossible.

    listed: the configurations of a grid or of `--configs`, each once; None for a search.
    trials: the number of trials of the search.
    notes: facts about this machine that a user should know.
    left_out: notes on requests that will not be run, with the reason.
    not_run: the configurations of the list whose weights are unavailable.
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
    notes: tuple[str, ...]
    left_out: tuple[str, ...]
    audit: Audit
    not_run: tuple[NotRun, ...] = ()

    def config(self, params: Params) -> TrialConfig:
        """Return the configuration of drawn or listed hyperparameters in this study."""
        return complete_config(params, self.settings, self.dataset.size)

    @cached_property
    def configs(self) -> tuple[TrialConfig, ...]:
        """The configurations of the list, or one per branch of the search space."""
        params = self.listed if self.listed is not None else self.branches.leaves
        return tuple(map(self.config, params))

    @property
    def selects_nothing(self) -> bool:
        """True if every configuration of a list is confirmed: none was chosen by its score."""
        return self.listed is not None and self.settings.finalists == "all"

    @property
    def searched(self) -> tuple[str, ...]:
        """The hyperparameters that distinguish the study's trials."""
        if self.listed is None:
            return tuple(self.branches.distributions)
        values: dict[str, set[object]] = {}
        for config in self.configs:
            for name, value in config.all_params().items():
                values.setdefault(name, set()).add(value)
        return tuple(
            name for name, distinct in values.items() if len(distinct) > 1 or name == "model"
        )

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """The geometries of the configurations, each once."""
        return tuple(dict.fromkeys(map(Geometry.of, self.configs)))


def complete_config(params: Params, settings: SearchSettings, size: int) -> TrialConfig:
    """Complete hyperparameters with the study's length, image size and seed, and check them all.

    `size` is the images' shorter side in pixels.
    """
    epochs = min(int(params.get("epochs", settings.max_epochs)), settings.max_epochs)
    side = geometry_of(params, size).image_size
    return TrialConfig.of({"image_size": side, "seed": settings.seed, **params, "epochs": epochs})


def geometry_of(params: Params, size: int) -> Geometry:
    """Return the geometry of hyperparameters on images whose shorter side is `size` pixels.

    Where no image size is drawn, it is that of the crop, else of the resized image, else the
    images' own up to a limit.
    """
    resize, crop = int(params.get("resize", 0)), int(params.get("crop", 0))
    side = params.get("image_size") or crop or resize or default_geometries(size)[0].image_size
    return Geometry(int(side), resize, crop)


def deduplicate(
    listed: Iterable[Params], settings: SearchSettings, size: int
) -> tuple[tuple[Params, ...], int]:
    """Return the configurations of a list, each once, and the number of repetitions."""
    unique: dict[tuple[str, int], Params] = {}
    count = 0
    for params in listed:
        config = complete_config(params, settings, size)
        unique.setdefault((config.config_id, config.seed), params)
        count += 1
    return tuple(unique.values()), count - len(unique)


def space_summary(plan: Plan) -> dict[str, str]:
    """Return each hyperparameter of the study with its values as text, pins included."""
    pinned = {name: f"{value} (pinned)" for name, value in plan.space.pins.items()}
    return {**hyperparameter_summary(plan.branches), **pinned}


@dataclass(frozen=True)
class FollowUpTrials:
    """The greatest numbers of trials that may follow the search."""

    replicates: int
    resplits: int
    ablations: int

    @property
    def trials(self) -> int:
        """The total number."""
        return self.replicates + self.resplits + self.ablations


def follow_up_trials(plan: Plan) -> FollowUpTrials:
    """Count the finalists under fresh seeds and on re-splits, and the winner's ablations."""
    requested, seeds = plan.settings.finalists, plan.settings.replicates
    finalists = plan.trials if requested == "all" else min(requested, plan.trials)
    fresh = seeds - 1 if plan.selects_nothing else seeds  # the search's own trial is one of them
    return FollowUpTrials(
        replicates=finalists * fresh,
        resplits=finalists * seeds if plan.settings.resplit else 0,
        ablations=_ablated_values(plan) * seeds if plan.settings.ablate else 0,
    )


def _ablated_values(plan: Plan) -> int:
    """Return the greatest number of values that an ablation may try."""
    if plan.selects_nothing:
        return 0
    if plan.listed is not None:
        return len(plan.listed) * len(plan.searched)
    return sum(
        max(
            min(len(branch.values) - 1, CHOICES) if isinstance(branch, Choices) else 2
            for branch in branches
        )
        for branches in plan.branches.distributions.values()
    )
