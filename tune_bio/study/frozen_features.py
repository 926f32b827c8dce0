"""The frozen features that a study needs: those on disk are used, the others computed.

If features are unavailable, trials run on images as usual, and the study reports this.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console

from tune_bio.console.progress import progress_bar
from tune_bio.datasets.cache.eviction import keep_fresh
from tune_bio.datasets.feature_arrays import FeatureCut
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.models.build import input_transform
from tune_bio.models.feature_cut import NoCutError
from tune_bio.models.weights.pretrained import as_tensors, load_backbone
from tune_bio.ray_tune.feature_tasks import FeatureBlocks, make_features
from tune_bio.ray_tune.object_store import SharedInputs, share_features
from tune_bio.reuse.feature_store import FeatureFiles, FeatureStore
from tune_bio.reuse.frozen_features import (
    VERIFY_IMAGES,
    FeatureMaker,
    FeatureSet,
    FrozenPart,
    feature_key,
    frozen_model,
    frozen_parts,
    verified_cut,
)
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study.planning.plan import Plan

Compute = Callable[[FeatureSet], FeatureBlocks]
TRAINED_ON_IMAGES = "its trials run on images"


@dataclass(frozen=True)
class FeaturePlan:
    """A study's feature sets: those on disk, those to compute, and notes on what is left out.

    `at_once` processes or threads compute.
    """

    stored: Mapping[FeatureSet, FeatureFiles]
    missing: tuple[FeatureSet, ...]
    notes: tuple[str, ...]
    at_once: int

    @property
    def cuts(self) -> dict[FrozenPart, FeatureCut]:
        """The feature cuts of both, by frozen part."""
        return {features.part: features.cut for features in (*self.stored, *self.missing)}


@dataclass(frozen=True)
class StudyFeatures:
    """A study's features: their files, their manifest entries, and notes on what has none."""

    files: Mapping[FeatureSet, FeatureFiles]
    entries: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]

    def attach_to(self, shared: SharedInputs) -> SharedInputs:
        """Return the shared inputs with the features."""
        return shared.with_features(
            {features.part: share_features(files) for features, files in self.files.items()}
        )


class AbandonedError(Exception):
    """The study ended before its features were computed."""


def plan_features(plan: Plan) -> FeaturePlan:
    """Find the feature sets that the study can use, without writing anything."""
    store, maker = feature_store_of(plan), _maker(plan)
    rows = {"train": len(plan.dataset.train), "val": len(plan.dataset.val)}
    configs, notes = _most_shared(plan)
    stored: dict[FeatureSet, FeatureFiles] = {}
    missing = []
    for part, config in configs.items():
        key = feature_key(config, _weights_sha256(plan, config), plan.dataset, maker)
        files = store.find(key, rows)
        try:
            cut = files.cut if files is not None else _verified_cut(plan, config)
        except NoCutError as error:
            notes.append(f"features of {part}: {error}; {TRAINED_ON_IMAGES}")
            continue
        feature_set = FeatureSet(part, config, key, cut, rows, maker)
        if files is not None:
            stored[feature_set] = files
        else:
            missing.append(feature_set)
    fitting, too_large = _select_fitting(
        missing, store.available_bytes([feature_set.key for feature_set in stored])
    )
    at_once = driver_threads(plan) if is_single_cpu_machine(plan) else plan.allotment.concurrent
    return FeaturePlan(stored, fitting, (*notes, *too_large), at_once)


def make_study_features(
    plan: Plan, console: Console, compute: Compute, abandoned: Callable[[], bool] = lambda: False
) -> StudyFeatures:
    """Compute the missing features of a study with `compute`, and return all of its features.

    Raises:
        AbandonedError: `abandoned` has become true.
    """
    feature_plan = plan_features(plan)
    computed, failures = _compute_missing(feature_plan, compute, plan, console, abandoned)
    files = {**feature_plan.stored, **computed}
    entries = tuple(_entry(features, computed=features in computed) for features in files)
    return StudyFeatures(files, entries, (*feature_plan.notes, *failures))


def _compute_missing(
    feature_plan: FeaturePlan,
    compute: Compute,
    plan: Plan,
    console: Console,
    abandoned: Callable[[], bool],
) -> tuple[dict[FeatureSet, FeatureFiles], list[str]]:
    """Return the sets that were computed, and notes on those that could not be."""
    store = feature_store_of(plan)
    size = sum(feature_set.nbytes for feature_set in feature_plan.missing)
    store.make_space(
        size, [feature_set.key for feature_set in (*feature_plan.stored, *feature_plan.missing)]
    )
    computed: dict[FeatureSet, FeatureFiles] = {}
    failures = []
    images, done = sum(feature_set.images for feature_set in feature_plan.missing), 0
    used = [files.used for files in feature_plan.stored.values()]
    with progress_bar(console, "computing features") as report, keep_fresh(used):
        for feature_set in feature_plan.missing:

            def report_set(done_of_set: int, before: int = done) -> None:
                if abandoned():
                    raise AbandonedError
                report(before + done_of_set, images)

            reason = make_features(feature_set, compute(feature_set), store, report_set)
            done += feature_set.images
            if reason is None:
                computed[feature_set] = store.at(feature_set.key, feature_set.cut)
                used.append(computed[feature_set].used)
            else:
                failures.append(f"features of {feature_set.part}: {reason}; {TRAINED_ON_IMAGES}")
    return computed, failures


def feature_store_of(plan: Plan) -> FeatureStore:
    """Return the store of the study's features."""
    return FeatureStore(plan.dataset.train.source.cache_folder / "features")


def _most_shared(plan: Plan) -> tuple[dict[FrozenPart, TrialConfig], list[str]]:
    """Return frozen parts with one configuration each, at most as many as trials, and notes."""
    by_part = frozen_parts(config for config in plan.configs if config.freeze != "none")
    selected = {part: configs[0] for part, configs in list(by_part.items())[: plan.trials]}
    if len(selected) == len(by_part):
        return selected, []
    return selected, [
        f"features of {len(by_part) - len(selected)} of {len(by_part)} frozen parts: there are "
        "more parts than trials, and only those that most branches share are computed"
    ]


def _select_fitting(
    missing: list[FeatureSet], available: int
) -> tuple[tuple[FeatureSet, ...], list[str]]:
    """Return the sets that fit into the available bytes, and notes on the others."""
    fitting, notes = [], []
    for feature_set in missing:
        if feature_set.nbytes <= available:
            available -= feature_set.nbytes
            fitting.append(feature_set)
        else:
            notes.append(
                f"features of {feature_set.part}: {feature_set.nbytes / 2**30:.2f} GiB do not fit "
                f"into the cache, which may grow by {max(0, available) / 2**30:.2f} GiB; "
                f"{TRAINED_ON_IMAGES}"
            )
    return tuple(fitting), notes


def _verified_cut(plan: Plan, config: TrialConfig) -> FeatureCut:
    """Return the feature cut of a configuration, verified on a few training images."""
    file = plan.weights.files[config.model, config.weights]
    backbone = as_tensors(load_backbone(config.model, file))
    train, geometry = plan.dataset.train, Geometry.of(config)
    rows = np.linspace(0, len(train) - 1, num=min(VERIFY_IMAGES, len(train))).astype(np.intp)
    model = frozen_model(config, backbone, plan.dataset.channels)
    transform = input_transform(config, plan.dataset.pixel_format(geometry))
    return verified_cut(model, transform, train.take(rows).at(geometry))


def _weights_sha256(plan: Plan, config: TrialConfig) -> str:
    return plan.weights.files[config.model, config.weights].sha256


def _maker(plan: Plan) -> FeatureMaker:
    # The driver computes each block in one thread.
    cpus = 1 if is_single_cpu_machine(plan) else plan.allotment.cpus
    device = "gpu" if plan.allotment.gpus else "cpu"
    return FeatureMaker(device, max(1, int(cpus)), plan.settings.feature_dtype)


def driver_threads(plan: Plan) -> int:
    """Return the number of threads with which the driver computes features."""
    return max(1, int(plan.nodes[0].cpus))


def is_single_cpu_machine(plan: Plan) -> bool:
    """Return True if the study has only this machine's CPUs."""
    return not plan.allotment.gpus and len(plan.nodes) == 1


def _entry(feature_set: FeatureSet, *, computed: bool) -> dict[str, Any]:
    """Return the manifest's entry of a feature set."""
    return {
        "of": str(feature_set.part),
        "key": feature_set.key,
        "bytes": feature_set.nbytes,
        "dtype": feature_set.maker.dtype,
        "computed": computed,
    }
