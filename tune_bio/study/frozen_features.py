"""Which frozen features a study needs, which of them are kept already, and the making of the rest.

Where features cannot be had, trials run on images, the ordinary way, and the study says so.
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
    """A study's feature sets: those on disk, those to be computed, and what is left out.

    `at_once` processes compute.
    """

    kept: Mapping[FeatureSet, FeatureFiles]
    missing: tuple[FeatureSet, ...]
    notes: tuple[str, ...]
    at_once: int

    @property
    def cuts(self) -> dict[FrozenPart, FeatureCut]:
        """By part, of those that trials will have."""
        return {wanted.part: wanted.cut for wanted in (*self.kept, *self.missing)}


@dataclass(frozen=True)
class StudyFeatures:
    """A study's features: where they are, a description of each set, and what has none, and why."""

    files: Mapping[FeatureSet, FeatureFiles]
    described: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]

    def attached(self, shared: SharedInputs) -> SharedInputs:
        """What trials share, with the features."""
        return shared.with_features(
            {w.part: share_features(files) for w, files in self.files.items()}
        )


class AbandonedError(Exception):
    """The study ended before its features were computed."""


def plan_features(plan: Plan) -> FeaturePlan:
    """Find out which feature sets the study can use; nothing is written."""
    store, maker = feature_store_of(plan), _maker(plan)
    rows = {"train": len(plan.dataset.train), "val": len(plan.dataset.val)}
    wanted, notes = _most_shared(plan)
    kept: dict[FeatureSet, FeatureFiles] = {}
    missing = []
    for part, config in wanted.items():
        key = feature_key(config, _weights(plan, config), plan.dataset, maker)
        files = store.find(key, rows)
        try:
            cut = files.cut if files is not None else _tried(plan, config)
        except NoCutError as error:
            notes.append(f"features of {part}: {error}; {TRAINED_ON_IMAGES}")
            continue
        found = FeatureSet(part, config, key, cut, rows, maker)
        if files is not None:
            kept[found] = files
        else:
            missing.append(found)
    fitting, too_large = _that_fit(missing, store.available_bytes([w.key for w in kept]))
    at_once = driver_threads(plan) if is_single_cpu_machine(plan) else plan.allotment.concurrent
    return FeaturePlan(kept, fitting, (*notes, *too_large), at_once)


def make_study_features(
    plan: Plan, console: Console, compute: Compute, abandoned: Callable[[], bool] = lambda: False
) -> StudyFeatures:
    """Have what is missing computed by `compute`; nothing in a study without frozen parts.

    Raises:
        AbandonedError: as soon as `abandoned` says so.
    """
    found = plan_features(plan)
    made, failed = _make(found, compute, plan, console, abandoned)
    files = {**found.kept, **made}
    described = tuple(_described(wanted, computed=wanted in made) for wanted in files)
    return StudyFeatures(files, described, (*found.notes, *failed))


def _make(
    found: FeaturePlan,
    compute: Compute,
    plan: Plan,
    console: Console,
    abandoned: Callable[[], bool],
) -> tuple[dict[FeatureSet, FeatureFiles], list[str]]:
    """Compute what is missing; the sets that there are now, and what could not be computed."""
    store = feature_store_of(plan)
    size = sum(wanted.nbytes for wanted in found.missing)
    store.make_space(size, [wanted.key for wanted in (*found.kept, *found.missing)])
    made: dict[FeatureSet, FeatureFiles] = {}
    failed = []
    images, done = sum(wanted.images for wanted in found.missing), 0
    used = [files.used for files in found.kept.values()]
    with progress_bar(console, "computing features") as tell, keep_fresh(used):
        for wanted in found.missing:

            def told(ready: int, before: int = done) -> None:
                if abandoned():
                    raise AbandonedError
                tell(before + ready, images)

            reason = make_features(wanted, compute(wanted), store, told)
            done += wanted.images
            if reason is None:
                made[wanted] = store.at(wanted.key, wanted.cut)
                used.append(made[wanted].used)
            else:
                failed.append(f"features of {wanted.part}: {reason}; {TRAINED_ON_IMAGES}")
    return made, failed


def feature_store_of(plan: Plan) -> FeatureStore:
    """Where the study's features are kept."""
    return FeatureStore(plan.dataset.train.source.cache_folder / "features")


def _most_shared(plan: Plan) -> tuple[dict[FrozenPart, TrialConfig], list[str]]:
    """Return the frozen parts of a study with a configuration each; no more than it has trials."""
    by_part = frozen_parts(config for config in plan.configs if config.freeze != "none")
    chosen = {part: configs[0] for part, configs in list(by_part.items())[: plan.trials]}
    if len(chosen) == len(by_part):
        return chosen, []
    return chosen, [
        f"features of {len(by_part) - len(chosen)} of {len(by_part)} frozen parts: there are more "
        "of them than trials, and those that most branches share are computed"
    ]


def _that_fit(missing: list[FeatureSet], room: int) -> tuple[tuple[FeatureSet, ...], list[str]]:
    fitting, notes = [], []
    for wanted in missing:
        if wanted.nbytes <= room:
            room -= wanted.nbytes
            fitting.append(wanted)
        else:
            notes.append(
                f"features of {wanted.part}: {wanted.nbytes / 2**30:.2f} GiB do not fit into the "
                f"cache, which may take {max(0, room) / 2**30:.2f} GiB more; {TRAINED_ON_IMAGES}"
            )
    return tuple(fitting), notes


def _tried(plan: Plan, config: TrialConfig) -> FeatureCut:
    file = plan.weights.files[config.model, config.weights]
    backbone = as_tensors(load_backbone(config.model, file))
    train, geometry = plan.dataset.train, Geometry.of(config)
    few = np.linspace(0, len(train) - 1, num=min(VERIFY_IMAGES, len(train))).astype(np.intp)
    model = frozen_model(config, backbone, plan.dataset.channels)
    transform = input_transform(config, plan.dataset.pixel_format(geometry))
    return verified_cut(model, transform, train.take(few).at(geometry))


def _weights(plan: Plan, config: TrialConfig) -> str:
    return plan.weights.files[config.model, config.weights].sha256


def _maker(plan: Plan) -> FeatureMaker:
    cpus = 1 if is_single_cpu_machine(plan) else plan.allotment.cpus  # of one thread in the driver
    device = "gpu" if plan.allotment.gpus else "cpu"
    return FeatureMaker(device, max(1, int(cpus)), plan.settings.feature_dtype)


def driver_threads(plan: Plan) -> int:
    """How many threads the driver has for features."""
    return max(1, int(plan.nodes[0].cpus))


def is_single_cpu_machine(plan: Plan) -> bool:
    """Whether this machine's CPUs are all there is."""
    return not plan.allotment.gpus and len(plan.nodes) == 1


def _described(wanted: FeatureSet, *, computed: bool) -> dict[str, Any]:
    return {
        "of": str(wanted.part),
        "key": wanted.key,
        "bytes": wanted.nbytes,
        "dtype": wanted.maker.dtype,
        "computed": computed,
    }
