"""Preflight: everything that can refuse a study does so here, before anything is started."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tune_bio.datasets.audit.audit import audit_dataset, audit_names
from tune_bio.datasets.audit.findings import Finding, StageProgress, no_progress_bar
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.opening import open_arrays, open_dataset
from tune_bio.datasets.sources.in_memory import IN_MEMORY as ARRAYS
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.errors import ConfigError, DataError, InputError, WeightsError
from tune_bio.models.build import refuse_impossible_freeze, refuse_unknown_model
from tune_bio.models.weights.pretrained import load_backbone
from tune_bio.models.weights.published import published_at, resolve
from tune_bio.ray_tune.resources import Node, allot
from tune_bio.records.manifest_file import LEAKAGE
from tune_bio.space.branches import Branches, grid, walk_branches
from tune_bio.space.search_space import Range, SearchSpace
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import Params, TrialConfig
from tune_bio.study.planning import memory
from tune_bio.study.planning.config_list import read_configurations
from tune_bio.study.planning.missing_weights import not_run, without_missing
from tune_bio.study.planning.plan import Plan, deduplicate, finish, geometry_of
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
    """Check everything, cheapest first; fetch the pretrained weights last.

    `stage` shows people what takes long.

    Raises:
        InputError: whatever is wrong, with its remedy.
    """
    check_folder(request)
    if request.weights_dir is not None and not request.weights_dir.is_dir():
        raise WeightsError(
            f"--weights-dir {str(request.weights_dir)!r} is no folder", "give one that exists"
        )
    allotment = allot(settings, nodes)
    listed = _listed(space, settings, request)
    found = walk_branches(space) if listed is None else Branches(listed, listed, {}, complete=True)
    _check_branches(found)
    settings = settings if request.arrays is None else _on_arrays(settings)
    _refuse_leaks(_told_by_names(settings, request), request)
    dataset = _open(found, settings, request, stage)
    audit = audit_dataset(dataset, geometry=_widest(found, dataset.size), stage=stage)
    dataset = _marked(dataset, _refuse_leaks(audit.leaks, request))
    weights = resolve(found.pairs, request.weights_dir, download=download)
    for (model, _), file in weights.found.items():
        load_backbone(model, file)  # a damaged file is refused now, and not when trials start
    wanted = grid(space) if listed is None and settings.searcher == "grid" else listed
    left = not_run(wanted or (), weights, settings, dataset.size)
    space, listed, notes = without_missing(space, listed, found, weights, request)
    found = walk_branches(space) if listed is None else found
    notes += _capped(found, settings)
    configurations = _configurations(found, settings, dataset.size)
    notes += memory.refuse_unfit(configurations, dataset, nodes, allotment)
    if settings.searcher == "grid" and listed is None:
        listed = grid(space)
    if listed is not None:
        listed, again = deduplicate(listed, settings, dataset.size)
        notes += [f"{again} repeated configurations are run once"] if again else []
    return Plan(
        request=request,
        space=space,
        settings=settings,
        branches=found,
        listed=listed,
        dataset=dataset,
        weights=weights,
        nodes=nodes,
        allotment=allotment,
        trials=settings.num_trials if listed is None else len(listed),
        left_out=tuple(notes),
        audit=audit,
        not_run=left,
    )


def _open(
    found: Branches,
    settings: SearchSettings,
    request: Request,
    stage: StageProgress,
) -> Dataset:
    def geometries(size: int) -> tuple[Geometry, ...]:
        _check_sizes(found, settings, size)  # before anything is decoded
        return tuple(dict.fromkeys(geometry_of(leaf, size) for leaf in found.leaves))

    if request.arrays is not None:
        dataset = open_arrays(
            request.arrays,
            classes=request.class_names,
            seed=settings.seed,
            positive_class=request.positive_class,
            cache_dir=request.cache_dir,
        )
        _check_sizes(found, settings, dataset.size)
        return dataset

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


def _told_by_names(settings: SearchSettings, request: Request) -> tuple[Finding, ...]:
    """What the names of files tell of patients, before any image is decoded."""
    if request.arrays is not None:
        return ()
    return audit_names(settings.data, patient_pattern=request.patient_pattern)


def _refuse_leaks(leaks: Sequence[Finding], request: Request) -> Sequence[Finding]:
    """The leaks, where they are allowed; DataError otherwise."""
    leaks = [leak for leak in leaks if leak.severity == "error"]
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


def _widest(found: Branches, size: int) -> Geometry:
    """The geometry that shows most of an image: not cropped if there is one, and the largest."""
    geometries = [geometry_of(leaf, size) for leaf in found.leaves]
    return max(geometries, key=lambda geometry: (not geometry.crop, geometry.image_size))


def _on_arrays(settings: SearchSettings) -> SearchSettings:
    """Settings that name the data that are used."""
    return SearchSettings.of({**settings.model_dump(), "data": ARRAYS})


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
                where = f"{request.configs.name}, configuration {number}"
                raise type(error)(f"{where}: {error.fault}", error.remedy) from error
        return pinned
    if settings.searcher == "grid":
        grid(space)  # refuses ranges before anything else is looked at
    return None


def _check_branches(found: Branches) -> None:
    if not found.leaves:
        raise ConfigError("the search space is empty", "suggest at least a model")
    for name in ("image_size", "resize", "crop"):
        if any(isinstance(d, Range) for d in found.distributions.get(name, ())):
            raise ConfigError(
                f"{name!r} is a range", "use suggest_categorical: images are resized once a size"
            )
    for model in found.values("model"):
        refuse_unknown_model(str(model))
    for model, weights in found.pairs:
        published_at(model, weights)


def _check_sizes(found: Branches, settings: SearchSettings, size: int) -> None:
    """Raise ConfigError where a model cannot be built for images whose shorter side is `size`."""
    for config in _configurations(found, settings, size):
        refuse_unknown_model(config.model, config.image_size)
        refuse_impossible_freeze(config)


def _configurations(found: Branches, settings: SearchSettings, size: int) -> Iterator[TrialConfig]:
    """One configuration a branch, and one with the high ends of its ranges."""
    for leaf in (*found.leaves, *found.highs):
        yield TrialConfig.of(finish(leaf, settings, size))


def _capped(found: Branches, settings: SearchSettings) -> list[str]:
    longest = max((int(epochs) for epochs in found.values("epochs")), default=0)
    for distribution in found.distributions.get("epochs", ()):
        longest = max(longest, int(getattr(distribution, "high", 0)))
    if longest <= settings.max_epochs:
        return []
    return [f"epochs up to {longest} are capped at max_epochs={settings.max_epochs}"]
