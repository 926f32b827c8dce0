"""Searches from a notebook or a program: like the command, with arrays in and tables out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from tune_bio.datasets.sources.in_memory import ArrayData
from tune_bio.inference.exported_model import TrainedModel, load_model
from tune_bio.ray_tune.environment import prepare_environment
from tune_bio.ray_tune.launch import open_ray_session
from tune_bio.records.results import Results
from tune_bio.space.pins import check_pins
from tune_bio.space.search_space import SearchSpace, Trial, load_search_space, search_space_of
from tune_bio.space.settings import SearchSettings
from tune_bio.study.request import Request


@dataclass(frozen=True, eq=False)
class SearchResult(Results):
    """A finished search: its folder, its tables, and the best model."""

    @property
    def best(self) -> TrainedModel:
        """The best model, ready to predict."""
        return load_model(self.folder)


def run_search(
    space: str | Path | Callable[[Trial], None],
    settings: SearchSettings | None = None,
    *,
    data: str | Path | ArrayData | None = None,
    classes: Sequence[str] | None = None,
    positive_class: str | None = None,
    patient_pattern: str | None = None,
    pins: Mapping[str, Any] | None = None,
    name: str | None = None,
    results: str | Path = "results",
    weights_dir: str | Path | None = None,
    missing_weights: str = "skip",
    cache_dir: str | Path | None = None,
    address: str | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> SearchResult:
    """Run a search. If Ray is not running, it is started, and stopped at the end.

    Args:
        space: a search-space file, or the function `search_space(trial)` itself.
        settings: settings to use instead of those of the file.
        data: (images, labels) or (images, labels, patients), a mapping of "train", "val" and
            "test" to such tuples, or a source as for `--data` (default: that of the settings).
            images: (n, H, W) or (n, H, W, 3), uint8 or uint16.
        classes: names of the classes 0, 1, ... of arrays.
        positive_class: of two classes, the one to detect (default: the last).
        patient_pattern: a regular expression that finds the patient in a file's path.
        pins: hyperparameters that are fixed for every trial, as with `--set`.
        name: name of the study and its folder (default: the name of the file or function).
        results: folder of all studies.
        weights_dir, missing_weights, cache_dir, address, resume, quiet: as the command's flags.

    Raises:
        InputError: bad input; no trial was started, and nothing was written.
        StudyError: the search ran and has no result.
    """
    loaded = _loaded(space, settings, pins or {})
    settings = loaded.settings
    if isinstance(data, str | Path):
        settings = SearchSettings.of({**settings.model_dump(), "data": str(data)})
    request = Request(
        name=loaded.path.stem if name is None else name,
        results=Path(results),
        weights_dir=None if weights_dir is None else Path(weights_dir),
        missing_weights=missing_weights,
        positive_class=positive_class,
        patient_pattern=patient_pattern,
        cache_dir=None if cache_dir is None else Path(cache_dir),
        arrays=None if data is None or isinstance(data, str | Path) else data,
        class_names=None if classes is None else tuple(classes),
        quiet=quiet,
        resume=resume,
    )
    console = Console(highlight=False, quiet=quiet)
    prepare_environment(address)
    with open_ray_session(settings, address) as ray:
        from tune_bio.study.run import run_study  # imported while Ray started

        outcome = run_study(loaded, settings, request, console, ray=ray)
    return SearchResult.read(outcome.folder)


def _loaded(
    space: str | Path | Callable[[Trial], None],
    settings: SearchSettings | None,
    pins: Mapping[str, Any],
) -> SearchSpace:
    loaded = (
        load_search_space(Path(space)) if isinstance(space, str | Path) else search_space_of(space)
    )
    return replace(loaded, settings=settings or loaded.settings, pins=check_pins(pins))
