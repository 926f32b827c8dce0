"""python -m tune_bio.search: search hyperparameters of image classifiers."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from tune_bio.common.imports import importing
from tune_bio.console.parser import EXIT_FAILED, EXIT_OK, run_command
from tune_bio.console.search_options import search_parser
from tune_bio.errors import UsageError
from tune_bio.ray_tune.environment import prepare_environment
from tune_bio.ray_tune.launch import open_ray_session
from tune_bio.space.pins import parse_assignment
from tune_bio.space.search_space import SearchSpace, load_search_space
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import Params
from tune_bio.study.request import Request, check_folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    return run_command(
        lambda: _run(search_parser().parse_args(arguments)),
        "interrupted before the search began; no trial was recorded",
    )


def _run(options: argparse.Namespace) -> int:
    space = load_search_space(Path(options.space))
    settings = _settings(space, options)
    space = replace(space, pins=_pins(options))
    request = _request(space, options)
    check_folder(request)
    console = Console(highlight=False, quiet=options.quiet)
    # Nothing above takes time; the rest imports PyTorch and Ray.
    prepare_environment(options.address)
    if options.dry_run:
        return _dry_run(space, settings, request, console, options.address)
    with open_ray_session(settings, options.address, dashboard=options.dashboard) as ray:
        from tune_bio.study.run import run_study  # imported while Ray started

        outcome = run_study(space, settings, request, console, ray=ray)
    if outcome.signal is not None:
        return 128 + outcome.signal
    return EXIT_FAILED if outcome.failed else EXIT_OK


def _dry_run(
    space: SearchSpace,
    settings: SearchSettings,
    request: Request,
    console: Console,
    address: str | None,
) -> int:
    with importing():
        from tune_bio.ray_tune.connection import available_nodes
        from tune_bio.study.run import dry_run

    dry_run(space, settings, request, available_nodes(address), console)
    return EXIT_OK


def _settings(space: SearchSpace, options: argparse.Namespace) -> SearchSettings:
    """Return the SETTINGS of the file, overridden by the command line."""
    flags = {name: getattr(options, name, None) for name in SearchSettings.model_fields}
    overrides = {name: value for name, value in flags.items() if value is not None}
    if options.configs is not None:
        overrides.setdefault("scheduler", "none")  # a list is run to its end
    return SearchSettings.of({**space.settings.model_dump(), **overrides})


def _request(space: SearchSpace, options: argparse.Namespace) -> Request:
    return Request(
        name=options.name if options.name is not None else space.path.stem,
        results=Path(options.results),
        configs=options.configs,
        weights_dir=options.weights_dir,
        missing_weights=options.missing_weights,
        positive_class=options.positive_class,
        patient_pattern=options.patient_pattern,
        cache_dir=options.cache_dir,
        allow_leakage=options.allow_leakage,
        quiet=options.quiet,
        resume=options.resume,
    )


def _pins(options: argparse.Namespace) -> Params:
    """Return the hyperparameters that the command line pins."""
    pins = dict(parse_assignment(text) for text in options.set)
    if options.image_size is None:
        return pins
    name, size = parse_assignment(f"image_size={options.image_size}")
    if pins.setdefault(name, size) != size:
        raise UsageError(
            f"--image-size {size} contradicts --set image_size={pins[name]}",
            "give only one of them",
        )
    return pins


if __name__ == "__main__":
    sys.exit(main())
