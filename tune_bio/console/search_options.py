"""What the search command takes."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from tune_bio.console.parser import Parser
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import METRIC_MODES

Add = Callable[..., Any]

EPILOG = """\
examples:
  python -m tune_bio.search search_spaces/transfer.py
      the default study, on synthetic images that tune_bio makes itself
  python -m tune_bio.search search_spaces/transfer.py --data scans/ --name scans --dry-run
      look first: what would run, on what, for how long
  python -m tune_bio.search search_spaces/transfer.py --data scans/ --image-size 128
      a folder with one folder a class; every trial at 128 px
  python -m tune_bio.search search_spaces/transfer.py --configs mine.json
      exactly the configurations of a list, instead of a search

A search-space file is Python code and runs with your rights. Results go to results/NAME: tables
(Parquet), figures, report.html and the best model, for tune_bio.load_model("results/NAME").

exit status: 0 all well; 1 some trials failed (results kept); 2 bad input (no trial started,
nothing written); 130 or 143 interrupted (what was recorded is kept; --resume goes on).
"""


def search_parser() -> argparse.ArgumentParser:
    """The parser of `python -m tune_bio.search`."""
    parser = Parser(
        "search",
        "SPACE.py [options]",
        "Search the hyperparameters of image classifiers: Ray Tune schedules the trials of a "
        "search-space file over this machine or a cluster.",
        EPILOG,
    )
    parser.add_argument("space", metavar="SPACE.py", help="the search-space file")
    _searched(parser.add_argument_group("what is searched, on what").add_argument)
    _how(parser.add_argument_group("how it is searched (over SETTINGS of the file)").add_argument)
    _confirmed(parser.add_argument_group("what is confirmed, and on the test set").add_argument)
    _results(parser.add_argument_group("where results go").add_argument)
    _resources(parser.add_argument_group("resources").add_argument)
    _weights(parser.add_argument_group("pretrained weights").add_argument)
    _seen(parser.add_argument_group("what you see").add_argument)
    return parser


def _searched(add: Add) -> None:
    """What is searched, on which images."""
    add(
        "--data",
        metavar="SOURCE",
        help="'phantom' (also phantom:CLASSES, phantom:shortcut), a MedMNIST-layout .npz, or a "
        "folder: of class folders, of train/val/test of them, with a metadata.csv, or of one .npy "
        "a class",
    )
    add(
        "--image-size",
        metavar="N",
        type=int,
        help="every trial at N px (the same as --set image_size=N)",
    )
    add(
        "--patient-pattern",
        metavar="REGEX",
        help=r"finds the patient in an image's path, such as '(patient\d+)_'",
    )
    add(
        "--positive-class",
        metavar="NAME",
        help="of two classes, the one that is sought (default: the last)",
    )
    add(
        "--allow-leakage",
        action="store_true",
        help="go on where patients or copies stand in two of the given splits; outputs say so",
    )
    add(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="pin a hyperparameter for every trial; may be repeated",
    )
    add(
        "--configs",
        metavar="FILE",
        type=Path,
        help="run exactly these configurations: a JSON list of objects, or a trials.parquet",
    )


def _how(add: Add) -> None:
    """Over SETTINGS of the file."""
    add("--num-trials", metavar="N", type=int, help="trials of the search")
    add("--max-epochs", metavar="N", type=int, help="longest trial")
    add("--metric", help=f"what trials are ranked by: {', '.join(METRIC_MODES)}")
    add(
        "--searcher",
        help=f"{_choices('searcher')} (grid: every combination; gp: Gaussian process)",
    )
    add("--scheduler", help=f"{_choices('scheduler')} (asha, median: stop the worse ones early)")
    add("--grace-period", metavar="N", type=int, help="epochs before a trial may be stopped")
    add("--reduction-factor", metavar="N", type=int, help="one in N goes on from rung to rung")
    add("--seed", metavar="N", type=int, help="of the search, the splits and every trial")
    add("--time-budget", metavar="SECONDS", type=float, help="start and train nothing after this")


def _confirmed(add: Add) -> None:
    """What follows the search."""
    add(
        "--finalists",
        metavar="K|all",
        type=_finalists,
        help="the best K configurations are trained again, and see the test set (default: 2); 0: "
        "none is, and it stays sealed",
    )
    add("--replicates", metavar="K", type=int, help="fresh seeds of each finalist (default: 3)")
    add(
        "--resplit",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="train the finalists on new splits of train and validation too, by patient",
    )
    add(
        "--ablate",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="train the winner with one hyperparameter changed at a time, under its own seeds",
    )
    add(
        "--controls",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="simple predictors and a training on shuffled labels beside the study (default: yes)",
    )
    add(
        "--sensitivity",
        metavar="X",
        type=float,
        help="of the operating point, chosen on validation (default: Youden's)",
    )
    add(
        "--prevalence",
        metavar="X",
        type=float,
        help="of the positive class where the model is to be used, for its predictive values",
    )


def _results(add: Add) -> None:
    """Where everything is kept."""
    add("--name", help="name of the study (default: that of the file)")
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
        help="where decoded images are kept (default: ~/.cache/tune_bio)",
    )
    add(
        "--resume",
        action="store_true",
        help="go on with the study of this name: what is on record is not trained again; "
        "--num-trials and --max-epochs may be more than before",
    )
    add(
        "--checkpoint-gib",
        metavar="X",
        type=float,
        help="disk space of the study's checkpoints (default: 10)",
    )
    add(
        "--feature-dtype",
        help=f"{_choices('feature_dtype')} (default: float32; float16 takes half the disk space)",
    )


def _resources(add: Add) -> None:
    """What a trial takes, and where it runs."""
    add("--cpus-per-trial", metavar="X", type=float, help="CPU threads of one trial (default: 1)")
    add(
        "--gpus-per-trial",
        metavar="X",
        type=float,
        help="may be a share, as 0.5 (default: 1 where there are GPUs)",
    )
    add(
        "--max-concurrent", metavar="N", type=int, help="trials at a time (default: as many as fit)"
    )
    add(
        "--stall-timeout",
        metavar="SECONDS",
        type=float,
        help="end a trial that finishes no batch for so long",
    )
    add("--address", help="a running Ray cluster, as 'auto' or HOST:PORT (default: start Ray here)")


def _weights(add: Add) -> None:
    """Where pretrained weights come from."""
    add("--weights-dir", metavar="DIR", type=Path, help="look here first for files of weights")
    add(
        "--missing-weights",
        choices=("skip", "error"),
        default="skip",
        help="weights that cannot be had: never draw them (default), or refuse",
    )


def _seen(add: Add) -> None:
    """What is told."""
    add(
        "--dry-run",
        action="store_true",
        help="show the space, the data, the resources and the cost; train nothing",
    )
    add("--dashboard", action="store_true", help="start Ray's dashboard, on this machine only")
    add("--quiet", action="store_true", help="say nothing but errors")


def _finalists(text: str) -> int | str:
    if text != "all" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor 'all'")
    return text if text == "all" else int(text)


def _choices(name: str) -> str:
    return ", ".join(get_args(SearchSettings.model_fields[name].annotation))
