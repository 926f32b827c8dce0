"""Inputs that trials share: prepared in the driver while Ray starts, then put into Ray."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

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
from tune_bio.study.console import print_features
from tune_bio.study.frozen_features import (
    StudyFeatures,
    driver_threads,
    is_single_cpu_machine,
    make_study_features,
)
from tune_bio.study.planning.plan import Plan
from tune_bio.study.running_study import RunningStudy


@dataclass(frozen=True)
class PreparedInputs:
    """Images at every geometry, pretrained backbones, and the features that the driver computes.

    `features` is None if Ray can compute them on more than this machine's CPUs.
    """

    data: Mapping[Geometry, TrialData]
    backbones: Mapping[ModelWeights, Arrays]
    features: StudyFeatures | None


@contextmanager
def preparation(plan: Plan, console: Console) -> Iterator["Future[PreparedInputs]"]:
    """Prepare a study's inputs in a thread; the end of the block abandons unfinished work."""
    abandoned = Event()
    with ThreadPoolExecutor(1) as background:
        try:
            yield background.submit(prepare_inputs, plan, console, abandoned.is_set)
        finally:
            abandoned.set()


def prepare_inputs(
    plan: Plan, console: Console, abandoned: Callable[[], bool] = lambda: False
) -> PreparedInputs:
    """Prepare everything that needs no Ray.

    Raises:
        AbandonedError: `abandoned` has become true.
    """
    data = {geometry: prepare_data(plan.dataset, geometry) for geometry in plan.geometries}
    backbones = {pair: load_backbone(pair[0], file) for pair, file in plan.weights.files.items()}

    def compute(features: FeatureSet) -> FeatureBlocks:
        config = features.config
        backbone = as_tensors(backbones[config.model, config.weights])
        images = data[Geometry.of(config)]
        return features_in_driver(features, images, backbone, driver_threads(plan))

    if not is_single_cpu_machine(plan):
        return PreparedInputs(data, backbones, None)
    with keep_fresh(_mapped_files(data.values())):
        features = make_study_features(plan, console, compute, abandoned)
    return PreparedInputs(data, backbones, features)


def share_with_trials(
    study: RunningStudy, inputs: PreparedInputs, console: Console
) -> SharedInputs:
    """Put the inputs into Ray's object store, and compute the features there if still needed."""
    plan, features = study.plan, inputs.features
    shared = share_inputs(inputs.data, inputs.backbones)
    if features is None:
        with keep_fresh(shared.files):
            features = make_study_features(
                plan, console, lambda missing: features_by_tasks(missing, shared, plan.allotment)
            )
    print_features(features, console)
    study.manifest.add({"features": list(features.entries)}, left_out=features.notes)
    return features.attach_to(shared)


def _mapped_files(data: Iterable[TrialData]) -> list[Path]:
    """Return the files of images that are memory-mapped."""
    splits = [split for prepared in data for split in (prepared.train, prepared.val)]
    files = [mapped_file(base_array(split.pixels)) for split in splits]
    return [path for path in files if path is not None]
