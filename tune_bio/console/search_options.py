"""The command-line options of the search command."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from tune_bio.console.parser import Parser
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import METRIC_MODES

AddArgument = Callable[..., Any]

EPILOG = """\
examples:
  python -m tune_bio.search search_spaces/transfer.py
      the default study, on synthetic images that tune_bio generates itself
  python -m tune_bio.search search_spaces/transfer.py --data scans/ --name scans --dry-run
      show what would run, on which data and for how long; train nothing
  python -m tune_bio.search search_spaces/transfer.py --data scans/ --image-size 128
      a folder with one subfolder per class; every trial at 128 px
  python -m tune_bio.search search_spaces/transfer.py --configs mine.json
      run exactly the configurations of a list instead of a search

A search-space file is Python code and runs with your permissions. Results are written to
results/NAME: tables (Parquet), figures, report.html and the best model, which
tune_bio.load_model("results/NAME") loads.

exit status: 0 success; 1 some trials failed (results are kept); 2 bad input (no trial started,
nothing written); 130 or 143 interrupted (records are kept; continue with --resume).
"""


def search_parser() -> argparse.ArgumentParser:
    """Build the parser of `python -m tune_bio.search`."""
    parser = Parser(
        "search",
        "SPACE.py [options]",
        "Search the hyperparameters of image classifiers: Ray Tune runs the trials of a "
        "search-space file on this machine or a cluster.",
        EPILOG,
    )
    parser.add_argument("space", metavar="SPACE.py", help="the search-space file")
    _add_data_and_space(parser.add_argument_group("data and hyperparameters").add_argument)
    _add_search(parser.add_argument_group("search (overrides SETTINGS of the file)").add_argument)
    _add_confirmation(parser.add_argument_group("confirmation and test set").add_argument)
    _add_results(parser.add_argument_group("results").add_argument)
    _add_resources(parser.add_argument_group("resources").add_argument)
    _add_weights(parser.add_argument_group("pretrained weights").add_argument)
    _add_output(parser.add_argument_group("output").add_argument)
    return parser


def _add_data_and_space(add: AddArgument) -> None:
    """Add the options for the images and for fixed or listed hyperparameters."""
    add(
        "--data",
        metavar="SOURCE",
        help="'phantom' (also phantom:CLASSES, phantom:shortcut), a .npz file in MedMNIST layout, "
        "or a folder with one subfolder per class, such subfolders inside train/val/test, a "
        "metadata.csv, or one .npy file per class",
    )
    add(
        "--image-size",
        metavar="N",
        type=int,
        help="train every trial at N px (same as --set image_size=N)",
    )
    add(
        "--patient-pattern",
        metavar="REGEX",
        help=r"regular expression that finds the patient in an image's path, e.g. '(patient\d+)_'",
    )
    add(
        "--positive-class",
        metavar="NAME",
        help="positive class of a two-class problem (default: the last)",
    )
    add(
        "--allow-leakage",
        action="store_true",
        help="continue even if patients or image copies occur in two of the predefined splits; all "
        "outputs are marked",
    )
    add(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="fix a hyperparameter for every trial; may be repeated",
    )
    add(
        "--configs",
        metavar="FILE",
        type=Path,
        help="run exactly these configurations: a JSON list of objects, or a trials.parquet file",
    )


def _add_search(add: AddArgument) -> None:
    """Add the options that override the search settings of the file."""
    add("--num-trials", metavar="N", type=int, help="number of trials")
    add("--max-epochs", metavar="N", type=int, help="maximum number of epochs per trial")
    add("--metric", help=f"metric that ranks the trials: {', '.join(METRIC_MODES)}")
    add(
        "--searcher",
        help=f"{_choices('searcher')} (grid: every combination; gp: Gaussian process)",
    )
    add("--scheduler", help=f"{_choices('scheduler')} (asha and median stop weak trials early)")
    add("--grace-period", metavar="N", type=int, help="epochs before a trial may be stopped")
    add("--reduction-factor", metavar="N", type=int, help="one in N trials passes each rung")
    add("--seed", metavar="N", type=int, help="seed of the search, the splits and every trial")
    add("--time-budget", metavar="SECONDS", type=float, help="stop all training after this time")


def _add_confirmation(add: AddArgument) -> None:
    """Add the options for the steps after the search."""
    add(
        "--finalists",
        metavar="K|all",
        type=_finalists,
        help="retrain the best K configurations and evaluate them on the test set (default: 2); "
        "with 0, the test set is never used",
    )
    add("--replicates", metavar="K", type=int, help="new seeds per finalist (default: 3)")
    add(
        "--resplit",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="also train the finalists on new train/validation splits, by patient",
    )
    add(
        "--ablate",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="train the winner with one hyperparameter changed at a time, under the winner's seeds",
    )
    add(
        "--controls",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="also fit simple predictors and train on shuffled labels (default: yes)",
    )
    add(
        "--sensitivity",
        metavar="X",
        type=float,
        help="sensitivity of the operating point, which is chosen on validation (default: "
        "Youden's index)",
    )
    add(
        "--prevalence",
        metavar="X",
        type=float,
        help="prevalence of the positive class in the intended population, for predictive values",
    )


def _add_results(add: AddArgument) -> None:
    """Add the options for names, folders and disk space."""
    add("--name", help="name of the study (default: name of the file)")
    add(
        "--results",
        metavar="DIR",
        default="results",
        help="folder of all studies (default: results)",
    )
    add(
        "--cache-dir",
        metavar="DIR",
        type=Path,
        help="cache of decoded images and frozen features (default: ~/.cache/tune_bio)",
    )
    add(
        "--resume",
        action="store_true",
        help="continue the study of this name: recorded work is not repeated; "
        "--num-trials and --max-epochs may be raised",
    )
    add(
        "--checkpoint-gib",
        metavar="X",
        type=float,
        help="disk space for the study's checkpoints, in GiB (default: 10)",
    )
    add(
        "--feature-dtype",
        help=f"{_choices('feature_dtype')} (default: float32; float16 takes half the disk space)",
    )


def _add_resources(add: AddArgument) -> None:
    """Add the options for CPUs, GPUs, time limits and the cluster."""
    add("--cpus-per-trial", metavar="X", type=float, help="CPU threads per trial (default: 1)")
    add(
        "--gpus-per-trial",
        metavar="X",
        type=float,
        help="GPUs per trial; a fraction such as 0.5 is allowed (default: 1 if there are GPUs)",
    )
    add(
        "--max-concurrent", metavar="N", type=int, help="trials at a time (default: as many as fit)"
    )
    add(
        "--stall-timeout",
        metavar="SECONDS",
        type=float,
        help="end a trial that completes no batch for this long (default: 1800)",
    )
    add("--address", help="running Ray cluster: 'auto' or HOST:PORT (default: start Ray here)")


def _add_weights(add: AddArgument) -> None:
    """Add the options for pretrained weights."""
    add("--weights-dir", metavar="DIR", type=Path, help="folder to search first for weight files")
    add(
        "--missing-weights",
        choices=("skip", "error"),
        default="skip",
        help="skip: never draw unavailable weights (default); error: end with an error",
    )


def _add_output(add: AddArgument) -> None:
    """Add the options for the dry run, the dashboard and the console output."""
    add(
        "--dry-run",
        action="store_true",
        help="show the space, the data, the resources and the cost; train nothing",
    )
    add("--dashboard", action="store_true", help="start Ray's dashboard, on this machine only")
    add("--quiet", action="store_true", help="print errors only")


def _finalists(text: str) -> int | str:
    if text != "all" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor 'all'")
    return text if text == "all" else int(text)


def _choices(name: str) -> str:
    return ", ".join(get_args(SearchSettings.model_fields[name].annotation))
