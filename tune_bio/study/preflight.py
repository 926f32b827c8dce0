"""Preflight: everything that can refuse a study does so here, before anything is started."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tune_bio.cluster import Allotment, Node, allot
from tune_bio.config import Params, SearchSettings, TrialConfig
from tune_bio.datasets import Dataset, open_dataset
from tune_bio.errors import ConfigError, InputError, ResultsError, UsageError, WeightsError
from tune_bio.fingerprints import config_id
from tune_bio.models import check_model
from tune_bio.models.pretrained import Resolved, resolve, source_url
from tune_bio.space import Pair, Range, SearchSpace
from tune_bio.study.listed import read_configurations
from tune_bio.survey import Survey, describe, grid, survey, without

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
DEFAULT_DECODE_SIZE = 224


@dataclass(frozen=True)
class Request:
    """What the command line asks for, beside the search space and its settings."""

    name: str
    results: Path
    configs: Path | None = None
    weights_dir: Path | None = None
    missing_weights: str = "skip"
    positive_class: str | None = None
    quiet: bool = False

    @property
    def folder(self) -> Path:
        """Where the study leaves its results; absolute, since workers run elsewhere."""
        return (self.results / self.name).absolute()


@dataclass(frozen=True)
class Plan:
    """A study that can start: nothing in it is missing or impossible.

    `listed` holds the configurations of a grid or of `--configs`; `left_out` tells what was
    asked for and will not be run, and why.
    """

    request: Request
    space: SearchSpace
    settings: SearchSettings
    survey: Survey
    listed: tuple[Params, ...] | None
    dataset: Dataset
    weights: Resolved
    allotment: Allotment
    trials: int
    left_out: tuple[str, ...]

    def finish(self, params: Params) -> Params:
        """Complete drawn hyperparameters with what the study sets."""
        return finish(params, self.settings, self.dataset)

    @property
    def searched(self) -> tuple[str, ...]:
        """The hyperparameters that tell the study's trials apart."""
        if self.listed is None:
            return tuple(self.survey.distributions)
        values: dict[str, set[object]] = {}
        for params in map(self.finish, self.listed):
            for name, value in params.items():
                values.setdefault(name, set()).add(value)
        return tuple(name for name, seen in values.items() if len(seen) > 1 or name == "model")

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Every image size that occurs."""
        params = self.listed if self.listed is not None else self.survey.leaves
        return tuple(dict.fromkeys(int(self.finish(p)["image_size"]) for p in params))


def preflight(
    space: SearchSpace,
    settings: SearchSettings,
    request: Request,
    nodes: tuple[Node, ...],
    *,
    download: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Plan:
    """Check everything, cheapest first; fetch the pretrained weights last.

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
    found = survey(space) if listed is None else Survey(listed, listed, {}, complete=True)
    sizes = [int(size) for size in found.values("image_size")]
    _check_branches(found, sizes)
    dataset = open_dataset(
        settings.data,
        seed=settings.seed,
        decode_size=max(sizes, default=DEFAULT_DECODE_SIZE),
        positive_class=request.positive_class,
        progress=progress,
    )
    for leaf in (*found.leaves, *found.highs):
        complete = finish(leaf, settings, dataset)
        check_model(str(complete["model"]), int(complete["image_size"]))
    weights = resolve(found.pairs, request.weights_dir, download=download)
    space, listed, notes = _without_missing(space, listed, found, weights, request)
    found = survey(space) if listed is None else found
    notes += _capped(found, settings)
    if settings.searcher == "grid" and listed is None:
        listed = grid(space)
    if listed is not None:
        listed, again = _unique(listed, settings, dataset)
        notes += [f"{again} repeated configurations are run once"] if again else []
    return Plan(
        request=request,
        space=space,
        settings=settings,
        survey=found,
        listed=listed,
        dataset=dataset,
        weights=weights,
        allotment=allotment,
        trials=settings.num_trials if listed is None else len(listed),
        left_out=tuple(notes),
    )


def check_folder(request: Request) -> None:
    """Raise ResultsError where results could not be written; makes nothing."""
    if not NAME.fullmatch(request.name):
        raise UsageError(
            f"--name {request.name!r} is no name for a folder",
            "use 1 to 64 letters, digits, dots, dashes and underscores, and no leading dot",
        )
    folder = request.folder
    if folder.exists():
        raise ResultsError(
            f"{folder} exists already",
            f"choose another name with --name {_free_name(request)}, or remove the folder",
        )
    existing = next(parent for parent in folder.parents if parent.exists())
    if not existing.is_dir():
        raise ResultsError(f"{existing} is not a folder", "give another folder with --results")
    _probe_writing(existing)


def finish(params: Params, settings: SearchSettings, dataset: Dataset) -> Params:
    """Complete drawn hyperparameters: length, image size, seed; all of them checked."""
    size = dataset.size if _has_own_size(dataset) else DEFAULT_DECODE_SIZE
    epochs = min(int(params.get("epochs", settings.max_epochs)), settings.max_epochs)
    complete = {"image_size": size, "seed": settings.seed, **params, "epochs": epochs}
    config = TrialConfig.of(complete)
    return {**config.params(), "seed": config.seed}


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


def _check_branches(found: Survey, sizes: list[int]) -> None:
    if not found.leaves:
        raise ConfigError("the search space is empty", "suggest at least a model")
    if any(isinstance(d, Range) for d in found.distributions.get("image_size", ())):
        raise ConfigError(
            "'image_size' is a range", "use suggest_categorical: images are resized once a size"
        )
    for model in found.values("model"):
        check_model(str(model), max(sizes, default=4096))
    for model, weights in found.pairs:
        source_url(model, weights)


def _without_missing(
    space: SearchSpace,
    listed: tuple[Params, ...] | None,
    found: Survey,
    weights: Resolved,
    request: Request,
) -> tuple[SearchSpace, tuple[Params, ...] | None, list[str]]:
    """The space (or the list) without what has no weights; says what went."""
    if not weights.missing:
        return space, listed, []
    reasons = [f"{m} with weights={w}: {why}" for (m, w), why in weights.missing.items()]
    hint = "put the file into --weights-dir or TORCH_HOME, or go online once"
    if request.missing_weights == "error":
        raise WeightsError("weights cannot be had: " + "; ".join(reasons), hint)
    missing = frozenset(weights.missing)
    if listed is not None:
        kept = tuple(p for p in listed if _pair(p) not in missing)
        reasons += [f"{len(listed) - len(kept)} of the listed configurations went with it"]
        if not kept:
            raise WeightsError("no listed configuration has its weights: " + reasons[0], hint)
        return space, kept, reasons
    reduced = without(space, missing)
    left = survey(reduced)
    if not left.leaves:
        raise WeightsError("nothing is left to search: " + "; ".join(reasons), hint)
    for name in found.distributions:
        before, after = found.values(name), left.values(name)
        if len(before) > 1 and len(after) == 1:
            reasons.append(f"{name} is left with one choice: {after[0]}")
        elif before and not after:
            reasons.append(f"{name} is never drawn any more")
    return reduced, None, reasons


def _pair(params: Params) -> Pair:
    return str(params.get("model")), str(params.get("weights", "none"))


def _capped(found: Survey, settings: SearchSettings) -> list[str]:
    longest = max((int(epochs) for epochs in found.values("epochs")), default=0)
    for distribution in found.distributions.get("epochs", ()):
        longest = max(longest, int(getattr(distribution, "high", 0)))
    if longest <= settings.max_epochs:
        return []
    return [f"epochs up to {longest} are capped at max_epochs={settings.max_epochs}"]


def _unique(
    listed: Iterable[Params], settings: SearchSettings, dataset: Dataset
) -> tuple[tuple[Params, ...], int]:
    unique: dict[tuple[str, int], Params] = {}
    count = 0
    for params in listed:
        config = TrialConfig.of(finish(params, settings, dataset))
        unique.setdefault((config_id(config), config.seed), params)
        count += 1
    return tuple(unique.values()), count - len(unique)


def _has_own_size(dataset: Dataset) -> bool:
    return dataset.size <= DEFAULT_DECODE_SIZE


def _free_name(request: Request) -> str:
    number = 2
    while (request.results / f"{request.name}-{number}").exists():
        number += 1
    return f"{request.name}-{number}"


def _probe_writing(folder: Path) -> None:
    probe = folder / ".tune_bio_probe"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ResultsError(
            f"nothing can be written to {folder} ({error.strerror})",
            "give a folder of yours with --results",
        ) from error


def describe_space(plan: Plan) -> dict[str, str]:
    """Each hyperparameter of the study, for people; pins included."""
    pinned = {name: f"{value} (pinned)" for name, value in plan.space.pins.items()}
    return {**describe(plan.survey), **pinned}
