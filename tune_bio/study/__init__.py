"""One study from beginning to end; `carry_out` reads downward through its parts."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from rich.console import Console

from tune_bio.analysis.figures import draw_all
from tune_bio.analysis.study_records import read_study
from tune_bio.analysis.tables import write_summary
from tune_bio.cluster import Node, available_nodes, connected
from tune_bio.progress import reading, showing
from tune_bio.records import Records, Row, write_manifest
from tune_bio.reuse.cleaning import sweep
from tune_bio.settings import SearchSettings
from tune_bio.space import SearchSpace
from tune_bio.study.best import export_best
from tune_bio.study.manifest import describe_earlier, describe_plan
from tune_bio.study.preflight import Plan, preflight
from tune_bio.study.ready import Ready, get_ready, share_ready
from tune_bio.study.request import Request, locked
from tune_bio.study.resume import refuse_other_study, restore
from tune_bio.study.telling import conclude, introduce, tell_features
from tune_bio.study.tuning import Interruption, search

WORKER = "tune_bio.worker"


@dataclass(frozen=True)
class Outcome:
    """What a study came to: its folder, its trials' rows, and the signal that ended it, if any."""

    folder: Path
    trials: list[Row]
    signal: int | None

    @property
    def failed(self) -> int:
        """How many trials failed."""
        return sum(row["status"] == "failed" for row in self.trials)


@dataclass(frozen=True)
class Ran:
    """A search that has ended: its records, and its best trial's score and row, if it has one."""

    records: Records
    best: tuple[float, Row] | None
    interruption: Interruption


def run_study(
    space: SearchSpace,
    settings: SearchSettings,
    request: Request,
    console: Console,
    *,
    address: str | None = None,
    dashboard: bool = False,
) -> Outcome:
    """Check a study, start or join Ray, run it.

    Raises:
        InputError: bad input; nothing was started.
        StudyError: the study ran and could not deliver.
    """
    # Without a cluster to ask, everything that can be refused is refused before Ray starts.
    nodes = available_nodes() if address is None else None
    plan = check(space, settings, request, nodes, console) if nodes else None
    # A trial's process takes seconds to import what it needs; idle ones may do so meanwhile.
    warm = WORKER if plan and nodes and plan.allotment.occupies(nodes) else None
    over = Event()
    with ThreadPoolExecutor(1) as beside, ExitStack() as study:
        study.callback(over.set)
        ahead = plan and beside.submit(get_ready, plan, console, over.is_set)
        url = study.enter_context(connected(address, dashboard=dashboard, warm=warm))
        plan = plan or check(space, settings, request, available_nodes(), console)
        introduce(plan, url, console)
        ready = ahead.result() if ahead else get_ready(plan, console)
        study.enter_context(_folder_of_its_own(plan))  # interrupted before, it leaves nothing
        return _tell(plan, carry_out(plan, ready, console), console)


def check(
    space: SearchSpace,
    settings: SearchSettings,
    request: Request,
    nodes: tuple[Node, ...],
    console: Console,
    *,
    download: bool = True,
) -> Plan:
    """`preflight`, with a progress bar while images are read; and whether it can be resumed."""
    with reading(console) as progress:
        plan = preflight(space, settings, request, nodes, download=download, progress=progress)
    if request.resume:
        refuse_other_study(plan)
        restore(plan, _records(plan))
    return plan


@contextmanager
def _folder_of_its_own(plan: Plan) -> Iterator[None]:
    folder = plan.request.folder
    folder.mkdir(parents=True, exist_ok=plan.request.resume)
    with locked(folder):
        yield


def carry_out(plan: Plan, ready: Ready, console: Console) -> Ran:
    """Run a study whose preflight has passed, on a Ray that is connected."""
    folder, records = plan.request.folder, _records(plan)
    past = restore(plan, records) if plan.request.resume else []
    manifest = {**describe_plan(plan), **describe_earlier(plan)}
    write_manifest(folder, manifest)
    records.write()
    sweep(folder)
    shared, frozen = share_ready(ready, plan, console)
    tell_features(frozen, console)
    manifest |= {
        "features": list(frozen.described),
        "left_out": [*plan.left_out, *frozen.notes],
    }
    write_manifest(folder, manifest)
    with showing(
        console,
        records,
        plan.settings,
        plan.searched,
        plan.trials,
        quiet=plan.request.quiet,
        ended=sum(trial.ended for trial in past),
    ) as view:
        interruption = search(plan, shared, records, view, past)
    best = export_best(plan, records)
    manifest |= {
        "seconds": time.monotonic() - records.began,
        "timeline": records.timeline,
        "interrupted": _was_interrupted(plan, records),
        "best_trial": best[1]["trial_id"] if best else None,
    }
    write_manifest(folder, manifest)
    return Ran(records, best, interruption)


def _records(plan: Plan) -> Records:
    validation = plan.dataset.val
    return Records(
        plan.request.folder,
        plan.dataset.classes,
        validation.names,
        validation.patients,
        validation.labels,
    )


def _tell(plan: Plan, ran: Ran, console: Console) -> Outcome:
    """Figures and summary, and the last lines on the console."""
    folder, trials = plan.request.folder, list(ran.records.trials.values())
    study = read_study(folder)
    if not study.ranking.empty:
        draw_all(study, folder / "figures")
    write_summary(study, folder)
    conclude(plan, trials, ran.best, console)
    return Outcome(folder, trials, _signal(plan, ran.records, ran.interruption))


def _was_interrupted(plan: Plan, records: Records) -> bool:
    unfinished = any(row["status"] == "interrupted" for row in records.trials.values())
    return unfinished or len(records.trials) < plan.trials


def _signal(plan: Plan, records: Records, interruption: Interruption) -> int | None:
    """The signal that ended the search; one that Tune swallowed was Ctrl-C's."""
    if interruption.number is not None:
        return interruption.number
    if plan.settings.time_budget is None and _was_interrupted(plan, records):
        return 2
    return None
