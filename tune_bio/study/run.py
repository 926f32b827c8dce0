"""One study from plan to report: `run_study` reads downward through its steps."""

from functools import partial

from rich.console import Console

from tune_bio.console.progress import progress_bar
from tune_bio.ray_tune.launch import RaySession
from tune_bio.ray_tune.resources import Node
from tune_bio.space.search_space import SearchSpace
from tune_bio.space.settings import SearchSettings
from tune_bio.study.conclude import conclude
from tune_bio.study.console import print_dry_run, print_plan
from tune_bio.study.cost_estimate import estimate_cost
from tune_bio.study.follow_up.resplits import make_resplits
from tune_bio.study.frozen_features import plan_features
from tune_bio.study.outputs import Outcome, write_outputs
from tune_bio.study.planning.plan import Plan
from tune_bio.study.planning.preflight import make_plan
from tune_bio.study.prepare import preparation, share_with_trials
from tune_bio.study.request import Request
from tune_bio.study.resume import empty_records, refuse_other_study, restore_records
from tune_bio.study.running_study import started_study
from tune_bio.study.tuning import tune


def run_study(
    space: SearchSpace,
    settings: SearchSettings,
    request: Request,
    console: Console,
    *,
    ray: RaySession,
) -> Outcome:
    """Run a study: plan it, tune, conclude, and write its outputs.

    Raises:
        InputError: bad input; no trial was started, and nothing was written.
        StudyError: the study ran and has no result.
    """
    plan = plan_study(space, settings, request, ray.nodes, console)
    with preparation(plan, console) as prepared:  # images, weights and features, while Ray starts
        print_plan(plan, ray.connect(), console)
        inputs = prepared.result()
    with started_study(plan) as study:
        shared = share_with_trials(study, inputs, console)
        tuning = tune(study, shared, console)  # the search, then its finalists
        verdict = conclude(study, tuning.follow_up, console)  # winner first, then the test set
        return write_outputs(study, tuning, verdict, console)


def dry_run(
    space: SearchSpace,
    settings: SearchSettings,
    request: Request,
    nodes: tuple[Node, ...],
    console: Console,
) -> None:
    """Print everything that is known before the first trial; nothing is trained or written.

    Raises:
        InputError: bad input.
    """
    plan = plan_study(space, settings, request, nodes, console, download=False)
    features = plan_features(plan)
    print_dry_run(plan, features, estimate_cost(plan, features), console)


def plan_study(
    space: SearchSpace,
    settings: SearchSettings,
    request: Request,
    nodes: tuple[Node, ...],
    console: Console,
    *,
    download: bool = True,
) -> Plan:
    """Make a plan, with a progress bar while images are read; check that it can be resumed.

    Raises:
        InputError: bad input.
    """
    stage = partial(progress_bar, console)
    plan = make_plan(space, settings, request, nodes, download=download, stage=stage)
    make_resplits(plan)  # refused now if a class has too few patients
    if request.resume:
        refuse_other_study(plan)
        restore_records(plan, empty_records(plan))
    return plan
