"""What trials will share, got ready in the driver: it is done while Ray starts."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tune_bio.datasets.cache.arrays import mapped_file
from tune_bio.datasets.cache.eviction import in_use
from tune_bio.datasets.row_view import whole
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.trial_data import TrialData, prepare
from tune_bio.models.weights.pretrained import Arrays, as_tensors, load_backbone
from tune_bio.ray_tune.feature_tasks import Made, by_tasks, in_driver
from tune_bio.ray_tune.object_store import Shared, share
from tune_bio.reuse.frozen_features import FeatureSet
from tune_bio.space.search_space import Pair
from tune_bio.study.frozen_features import Frozen, alone, make_frozen, processors
from tune_bio.study.planning.plan import Plan


@dataclass(frozen=True)
class Ready:
    """Images at every geometry, pretrained backbones, and the features that the driver computes.

    `frozen` is None where a cluster has more to compute them with.
    """

    data: Mapping[Geometry, TrialData]
    backbones: Mapping[Pair, Arrays]
    frozen: Frozen | None


def get_ready(plan: Plan, console: Console, abandoned: Callable[[], bool] = lambda: False) -> Ready:
    """Do what can be done without Ray; AbandonedError as soon as `abandoned` says so."""
    data = {geometry: prepare(plan.dataset, geometry) for geometry in plan.geometries}
    backbones = {pair: load_backbone(pair[0], file) for pair, file in plan.weights.found.items()}

    def compute(wanted: FeatureSet) -> Made:
        config = wanted.config
        backbone = as_tensors(backbones[config.model, config.weights])
        return in_driver(wanted, data[Geometry.of(config)], backbone, processors(plan))

    with in_use(_files(data.values())):
        frozen = make_frozen(plan, console, compute, abandoned) if alone(plan) else None
    return Ready(data, backbones, frozen)


def share_ready(ready: Ready, plan: Plan, console: Console) -> tuple[Shared, Frozen]:
    """Put everything into the object store; on a cluster, with the features that it computes."""
    shared = share(ready.data, ready.backbones)
    frozen = ready.frozen
    if frozen is None:
        with in_use(shared.files):
            frozen = make_frozen(plan, console, lambda w: by_tasks(w, shared, plan.allotment))
    return frozen.attached(shared), frozen


def _files(data: Iterable[TrialData]) -> list[Path]:
    """Where the images lie that are too many for memory."""
    pixels = [whole(split.pixels) for each in data for split in (each.train, each.val)]
    return [path for path in map(mapped_file, pixels) if path is not None]
