"""Which frozen features a study needs, which of them are kept already, and the making of the rest.

Where features cannot be had, trials run on images, the ordinary way, and the study says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from rich.console import Console

from tune_bio.cluster import available_nodes
from tune_bio.config import TrialConfig
from tune_bio.datasets.features import Cut
from tune_bio.datasets.geometry import Geometry
from tune_bio.featuring import make_features
from tune_bio.models import input_transform
from tune_bio.models.cutting import NoCutError
from tune_bio.models.pretrained import load_backbone
from tune_bio.progress import reading
from tune_bio.reuse.features import (
    PROBE,
    FeatureSet,
    Maker,
    Part,
    feature_key,
    frozen_model,
    parts,
    tried_cut,
)
from tune_bio.reuse.store import FeatureFiles, FeatureStore
from tune_bio.sharing import Shared, SharedFeatures
from tune_bio.study.preflight import Plan

ORDINARY = "its trials run on images"


@dataclass(frozen=True)
class FrozenPlan:
    """A study's feature sets: those on disk, those to be computed, and what is left out.

    `at_once` processes compute.
    """

    kept: Mapping[FeatureSet, FeatureFiles]
    missing: tuple[FeatureSet, ...]
    notes: tuple[str, ...]
    at_once: int

    @property
    def cuts(self) -> dict[Part, Cut]:
        """By part, of those that trials will have."""
        return {wanted.part: wanted.cut for wanted in (*self.kept, *self.missing)}


def plan_frozen(plan: Plan) -> FrozenPlan:
    """Find out which feature sets the study can use; nothing is written."""
    store, maker = store_of(plan), _maker(plan)
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
            notes.append(f"features of {part}: {error}; {ORDINARY}")
            continue
        found = FeatureSet(part, config, key, cut, rows, maker)
        if files is not None:
            kept[found] = files
        else:
            missing.append(found)
    fitting, too_large = _that_fit(missing, store.room([w.key for w in kept]))
    at_once = 1 if _alone(plan) else plan.allotment.concurrent
    return FrozenPlan(kept, fitting, (*notes, *too_large), at_once)


def share_frozen(
    shared: Shared, plan: Plan, console: Console
) -> tuple[Shared, list[dict[str, Any]], list[str]]:
    """What trials share, with features; a description of each set; what has none, and why.

    What is missing is computed. In a study without frozen parts there is nothing to do.
    """
    found = plan_frozen(plan)
    made, failed = _make(found, shared, plan, console)
    files = {**found.kept, **made}
    features = {wanted.part: _shared(of) for wanted, of in files.items()}
    described = [_described(wanted, computed=wanted in made) for wanted in files]
    return shared.with_features(features), described, [*found.notes, *failed]


def _make(
    found: FrozenPlan, shared: Shared, plan: Plan, console: Console
) -> tuple[dict[FeatureSet, FeatureFiles], list[str]]:
    """Compute what is missing; the sets that there are now, and what could not be computed."""
    store, slots = store_of(plan), None if _alone(plan) else plan.allotment
    size = sum(wanted.nbytes for wanted in found.missing)
    store.make_room(size, [wanted.key for wanted in (*found.kept, *found.missing)])
    made: dict[FeatureSet, FeatureFiles] = {}
    failed = []
    images, done = sum(wanted.images for wanted in found.missing), 0
    with reading(console, "computing features") as tell:
        for wanted in found.missing:

            def told(ready: int, before: int = done) -> None:
                tell(before + ready, images)

            reason = make_features(wanted, shared, store, slots, told)
            done += wanted.images
            if reason is None:
                made[wanted] = store.at(wanted.key, wanted.cut)
            else:
                failed.append(f"features of {wanted.part}: {reason}; {ORDINARY}")
    return made, failed


def store_of(plan: Plan) -> FeatureStore:
    """Where the study's features are kept."""
    return FeatureStore(plan.dataset.train.source.cache_folder / "features")


def _most_shared(plan: Plan) -> tuple[dict[Part, TrialConfig], list[str]]:
    """The parts that the study can reach, a configuration each; no more than it has trials."""
    params = plan.listed if plan.listed is not None else plan.survey.leaves
    frozen = [p for p in params if p.get("freeze", "none") != "none"]
    found = parts(TrialConfig.of(plan.finish(p)) for p in frozen)
    chosen = {part: configs[0] for part, configs in list(found.items())[: plan.trials]}
    if len(chosen) == len(found):
        return chosen, []
    return chosen, [
        f"features of {len(found) - len(chosen)} of {len(found)} frozen parts: there are more of "
        "them than trials, and those that most branches share are computed"
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
                f"cache, which may take {max(0, room) / 2**30:.2f} GiB more; {ORDINARY}"
            )
    return tuple(fitting), notes


def _tried(plan: Plan, config: TrialConfig) -> Cut:
    file = plan.weights.found[config.model, config.weights]
    arrays = load_backbone(config.model, file)
    backbone = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    train, geometry = plan.dataset.train, Geometry.of(config)
    few = np.linspace(0, len(train) - 1, num=min(PROBE, len(train))).astype(np.intp)
    model = frozen_model(config, backbone, plan.dataset.channels)
    transform = input_transform(config, plan.dataset.pixel_format(geometry))
    return tried_cut(model, transform, train.take(few).at(geometry))


def _weights(plan: Plan, config: TrialConfig) -> str:
    return plan.weights.found[config.model, config.weights].sha256


def _maker(plan: Plan) -> Maker:
    cpus = available_nodes()[0].cpus if _alone(plan) else plan.allotment.cpus
    device = "gpu" if plan.allotment.gpus else "cpu"
    return Maker(device, max(1, int(cpus)), plan.settings.feature_dtype)


def _alone(plan: Plan) -> bool:
    """Whether this machine's CPUs are all there is."""
    return not plan.allotment.gpus and len(available_nodes()) == 1


def _shared(files: FeatureFiles) -> SharedFeatures:
    files.touch()
    if len(available_nodes()) == 1:
        return SharedFeatures(files)
    # Other nodes may not see the file; on this one it is mapped, and not held twice.
    train, val = files.read()
    return SharedFeatures(files, ray.put((np.asarray(train), np.asarray(val))))


def _described(wanted: FeatureSet, *, computed: bool) -> dict[str, Any]:
    return {
        "of": str(wanted.part),
        "key": wanted.key,
        "bytes": wanted.nbytes,
        "dtype": wanted.maker.dtype,
        "computed": computed,
    }
