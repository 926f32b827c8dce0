"""One study from beginning to end: it is checked, Ray starts, and it is carried out."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from rich.console import Console

from tune_bio.console.progress import progress_bar
from tune_bio.ray_tune.connection import available_nodes, connected
from tune_bio.ray_tune.launch import WORKER, import_study
from tune_bio.ray_tune.resources import Node
from tune_bio.space.search_space import SearchSpace
from tune_bio.space.settings import SearchSettings
from tune_bio.study.console import print_plan
from tune_bio.study.follow_up.resplits import make_resplits
from tune_bio.study.planning.plan import Plan
from tune_bio.study.planning.preflight import make_plan
from tune_bio.study.prepare import prepare_inputs
from tune_bio.study.request import Request, locked, refuse_existing
from tune_bio.study.resume import empty_records, refuse_other_study, restore_records

if TYPE_CHECKING:
    from tune_bio.study.outputs import Outcome


def run_study(
    space: SearchSpace,
    settings: SearchSettings,
    request: Request,
    console: Console,
    *,
    address: str | None = None,
    dashboard: bool = False,
    nodes: tuple[Node, ...] | None = None,
) -> "Outcome":
    """Check a study, start or join Ray, run it.

    `nodes` is this machine where Ray has been started on it already.

    Raises:
        InputError: bad input; no trial was started, and nothing was written.
        StudyError: the study ran and could not deliver.
    """
    # Without a cluster to ask, everything that can be refused is refused before Ray starts.
    if address is None:
        nodes = nodes or available_nodes()
    plan = check(space, settings, request, nodes, console) if nodes else None
    # A trial's process takes seconds to import what it needs; idle ones may do so meanwhile.
    warm = WORKER if plan and nodes and plan.allotment.occupies(nodes) else None
    over = Event()
    with ThreadPoolExecutor(2) as beside, ExitStack() as study:
        study.callback(over.set)
        beside.submit(import_study)
        ahead = plan and beside.submit(prepare_inputs, plan, console, over.is_set)
        url = study.enter_context(connected(address, dashboard=dashboard, warm=warm))
        plan = plan or check(space, settings, request, available_nodes(), console)
        print_plan(plan, url, console)
        ready = ahead.result() if ahead else prepare_inputs(plan, console)
        study.enter_context(_folder_of_its_own(plan))  # interrupted before, it leaves nothing
        from tune_bio.study.outputs import write_study_outputs
        from tune_bio.study.stages import carry_out

        return write_study_outputs(plan, carry_out(plan, ready, console), console)


def check(
    space: SearchSpace,
    settings: SearchSettings,
    request: Request,
    nodes: tuple[Node, ...],
    console: Console,
    *,
    download: bool = True,
) -> Plan:
    """`make_plan`, with a progress bar while images are read; and whether it can be resumed."""
    stage = partial(progress_bar, console)
    plan = make_plan(space, settings, request, nodes, download=download, stage=stage)
    make_resplits(plan)  # refused now where a class has too few patients for it
    if request.resume:
        refuse_other_study(plan)
        restore_records(plan, empty_records(plan))
    return plan


@contextmanager
def _folder_of_its_own(plan: Plan) -> Iterator[None]:
    folder = plan.request.folder
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if not plan.request.resume:
            refuse_existing(plan.request)  # another process may have been faster
        yield
