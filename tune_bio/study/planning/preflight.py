"""Preflight: all checks that can refuse a study, made before anything is started."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from tune_bio.datasets.audit.audit import audit_dataset, audit_names
from tune_bio.datasets.audit.findings import Finding, StageProgress, no_progress_bar
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.opening import open_arrays, open_dataset
from tune_bio.datasets.sources.in_memory import IN_MEMORY
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.errors import ConfigError, DataError, InputError, WeightsError
from tune_bio.models.build import refuse_impossible_freeze, refuse_unknown_model
from tune_bio.models.weights.pretrained import load_backbone
from tune_bio.models.weights.published import Resolved, published_at, resolve
from tune_bio.ray_tune.resources import Allotment, Node, allot
from tune_bio.records.manifest_file import LEAKAGE
from tune_bio.space.branches import Branches, grid, walk_branches
from tune_bio.space.search_space import Range, SearchSpace
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import Params, TrialConfig
from tune_bio.study.planning import memory
from tune_bio.study.planning.config_list import read_configurations
from tune_bio.study.planning.missing_weights import not_run, without_missing
from tune_bio.study.planning.plan import Plan, complete_config, deduplicate, geometry_of
from tune_bio.study.request import Request, check_folder


def make_plan(
    space: SearchSpace,
    settings: SearchSettings,
    request: Request,
    nodes: tuple[Node, ...],
    *,
    download: bool = True,
    stage: StageProgress = no_progress_bar,
) -> Plan:
    """Check everything, cheapest first; download the pretrained weights last.

    `stage` shows the progress of long steps.

    Raises:
        InputError: the first fault, with its remedy.
    """
    _check_folders(request)
    allotment = allot(settings, nodes)
    listed = _listed(space, settings, request)
    branches = _branches(space, listed)
    settings = settings if request.arrays is None else _on_arrays(settings)
    dataset = _open(branches, settings, request, stage)
    audit = audit_dataset(dataset, geometry=_widest(branches, dataset.size), stage=stage)
    dataset = _marked(dataset, _refuse_leaks(audit.leaks, request))
    weights = _weights(branches, request, download)
    as_list = grid(space) if listed is None and settings.searcher == "grid" else listed
    unavailable = not_run(as_list or (), weights, settings, dataset.size)
    space, listed, left_out = without_missing(space, listed, branches, weights, request)
    branches = walk_branches(space) if listed is None else branches
    left_out += _capped(branches, settings)
    configs = _configurations(branches, settings, dataset.size)
    left_out += memory.refuse_unfit(configs, dataset, nodes, allotment)
    if settings.searcher == "grid" and listed is None:
        listed = grid(space)
    if listed is not None:
        listed, repeated = deduplicate(listed, settings, dataset.size)
        left_out += [f"{repeated} repeated configurations are run once"] if repeated else []
    return Plan(
        request=request,
        space=space,
        settings=settings,
        branches=branches,
        listed=listed,
        dataset=dataset,
        weights=weights,
        nodes=nodes,
        allotment=allotment,
        trials=settings.num_trials if listed is None else len(listed),
        notes=_device_notes(allotment),
        left_out=tuple(left_out),
        audit=audit,
        not_run=unavailable,
    )


def _check_folders(request: Request) -> None:
    check_folder(request)
    if request.weights_dir is not None and not request.weights_dir.is_dir():
        raise WeightsError(
            f"--weights-dir {str(request.weights_dir)!r} is not a folder", "give one that exists"
        )


def _branches(space: SearchSpace, listed: tuple[Params, ...] | None) -> Branches:
    """Return the branches of a space, or a list as branches; check their models."""
    branches = (
        walk_branches(space) if listed is None else Branches(listed, listed, {}, complete=True)
    )
    _check_branches(branches)
    return branches


def _open(
    branches: Branches, settings: SearchSettings, request: Request, stage: StageProgress
) -> Dataset:
    if request.arrays is not None:
        dataset = open_arrays(
            request.arrays,
            classes=request.class_names,
            seed=settings.seed,
            positive_class=request.positive_class,
            cache_dir=request.cache_dir,
        )
        _check_sizes(branches, settings, dataset.size)
        return dataset

    def geometries(size: int) -> tuple[Geometry, ...]:
        _check_sizes(branches, settings, size)  # before anything is decoded
        return tuple(dict.fromkeys(geometry_of(leaf, size) for leaf in branches.leaves))

    # File names can show that a patient is in two splits before any image is decoded.
    _refuse_leaks(audit_names(settings.data, patient_pattern=request.patient_pattern), request)
    with stage("reading images") as progress:
        return open_dataset(
            settings.data,
            seed=settings.seed,
            positive_class=request.positive_class,
            patient_pattern=request.patient_pattern,
            cache_dir=request.cache_dir,
            geometries=geometries,
            progress=progress,
        )


def _weights(branches: Branches, request: Request, download: bool) -> Resolved:
    weights = resolve(branches.pairs, request.weights_dir, download=download)
    for (model, _), file in weights.files.items():
        load_backbone(model, file)  # a damaged file is refused now, not when trials start
    return weights


def _refuse_leaks(findings: Sequence[Finding], request: Request) -> Sequence[Finding]:
    """Return the leaks if they are allowed.

    Raises:
        DataError: there are leaks, and they are not allowed.
    """
    leaks = [finding for finding in findings if finding.severity == "error"]
    if leaks and not request.allow_leakage:
        raise DataError(
            leaks[0].fault,
            f"{leaks[0].remedy}; `python -m tune_bio.audit` shows them, and --allow-leakage goes "
            "on, with every output marked",
        )
    return leaks


def _marked(dataset: Dataset, leaks: Sequence[Finding]) -> Dataset:
    notes = [f"{LEAKAGE} between the given splits, allowed: {leak.fault}" for leak in leaks]
    return replace(dataset, notes=(*dataset.notes, *notes))


def _device_notes(allotment: Allotment) -> tuple[str, ...]:
    if not allotment.gpus or torch.cuda.is_available():
        return ()
    return ("PyTorch sees no GPU on this machine; trials on nodes without a GPU train on the CPU",)


def _widest(branches: Branches, size: int) -> Geometry:
    """Return the geometry that shows most of an image: uncropped if possible, then the largest."""
    geometries = [geometry_of(leaf, size) for leaf in branches.leaves]
    return max(geometries, key=lambda geometry: (not geometry.crop, geometry.image_size))


def _on_arrays(settings: SearchSettings) -> SearchSettings:
    """Return the settings with arrays in memory as the source of the data."""
    return SearchSettings.of({**settings.model_dump(), "data": IN_MEMORY})


def _listed(
    space: SearchSpace, settings: SearchSettings, request: Request
) -> tuple[Params, ...] | None:
    if request.configs is not None:
        configurations = read_configurations(request.configs)
        pinned = tuple({**params, **space.pins} for params in configurations)
        for number, params in enumerate(pinned, start=1):
            try:
                TrialConfig.of(params)
            except InputError as error:
                place = f"{request.configs.name}, configuration {number}"
                raise type(error)(f"{place}: {error.fault}", error.remedy) from error
        return pinned
    if settings.searcher == "grid":
        grid(space)  # refuses ranges before anything else is checked
    return None


def _check_branches(branches: Branches) -> None:
    if not branches.leaves:
        raise ConfigError("the search space is empty", "suggest at least a model")
    for name in ("image_size", "resize", "crop"):
        if any(isinstance(d, Range) for d in branches.distributions.get(name, ())):
            raise ConfigError(
                f"{name!r} is a range", "use suggest_categorical: images are resized once per size"
            )
    for model in branches.values("model"):
        refuse_unknown_model(str(model))
    for model, weights in branches.pairs:
        published_at(model, weights)


def _check_sizes(branches: Branches, settings: SearchSettings, size: int) -> None:
    """Raise ConfigError if a model cannot be built for images whose shorter side is `size`."""
    for config in _configurations(branches, settings, size):
        refuse_unknown_model(config.model, config.image_size)
        refuse_impossible_freeze(config)


def _configurations(
    branches: Branches, settings: SearchSettings, size: int
) -> Iterator[TrialConfig]:
    """Yield one configuration per branch, and one with the high ends of its ranges."""
    for leaf in (*branches.leaves, *branches.highs):
        yield complete_config(leaf, settings, size)


def _capped(branches: Branches, settings: SearchSettings) -> list[str]:
    longest = max((int(epochs) for epochs in branches.values("epochs")), default=0)
    for distribution in branches.distributions.get("epochs", ()):
        longest = max(longest, int(getattr(distribution, "high", 0)))
    if longest <= settings.max_epochs:
        return []
    return [f"epochs up to {longest} are capped at max_epochs={settings.max_epochs}"]
