"""What trials will share, got ready in the driver: it is done while Ray starts."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tune_bio.datasets.cache.arrays import mapped_file
from tune_bio.datasets.cache.eviction import keep_fresh
from tune_bio.datasets.row_view import base_array
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.trial_data import TrialData, prepare_data
from tune_bio.models.weights.pretrained import Arrays, as_tensors, load_backbone
from tune_bio.ray_tune.feature_tasks import FeatureBlocks, features_by_tasks, features_in_driver
from tune_bio.ray_tune.object_store import SharedInputs, share_inputs
from tune_bio.reuse.frozen_features import FeatureSet
from tune_bio.space.search_space import ModelWeights
from tune_bio.study.frozen_features import (
    StudyFeatures,
    driver_threads,
    is_single_cpu_machine,
    make_study_features,
)
from tune_bio.study.planning.plan import Plan


@dataclass(frozen=True)
class PreparedInputs:
    """Images at every geometry, pretrained backbones, and the features that the driver computes.

    `frozen` is None where a cluster has more to compute them with.
    """

    data: Mapping[Geometry, TrialData]
    backbones: Mapping[ModelWeights, Arrays]
    frozen: StudyFeatures | None


def prepare_inputs(
    plan: Plan, console: Console, abandoned: Callable[[], bool] = lambda: False
) -> PreparedInputs:
    """Do what can be done without Ray; AbandonedError as soon as `abandoned` says so."""
    data = {geometry: prepare_data(plan.dataset, geometry) for geometry in plan.geometries}
    backbones = {pair: load_backbone(pair[0], file) for pair, file in plan.weights.found.items()}

    def compute(wanted: FeatureSet) -> FeatureBlocks:
        config = wanted.config
        backbone = as_tensors(backbones[config.model, config.weights])
        return features_in_driver(wanted, data[Geometry.of(config)], backbone, driver_threads(plan))

    with keep_fresh(_files(data.values())):
        frozen = (
            make_study_features(plan, console, compute, abandoned)
            if is_single_cpu_machine(plan)
            else None
        )
    return PreparedInputs(data, backbones, frozen)


def share_prepared(
    ready: PreparedInputs, plan: Plan, console: Console
) -> tuple[SharedInputs, StudyFeatures]:
    """Put everything into the object store; on a cluster, with the features that it computes."""
    shared = share_inputs(ready.data, ready.backbones)
    frozen = ready.frozen
    if frozen is None:
        with keep_fresh(shared.files):
            frozen = make_study_features(
                plan, console, lambda w: features_by_tasks(w, shared, plan.allotment)
            )
    return frozen.attached(shared), frozen


def _files(data: Iterable[TrialData]) -> list[Path]:
    """Where the images lie that are too many for memory."""
    pixels = [base_array(split.pixels) for each in data for split in (each.train, each.val)]
    return [path for path in map(mapped_file, pixels) if path is not None]
