"""A study that has started: its folder, its records and its manifest."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tune_bio.records.recorded_trial import RecordedTrial
from tune_bio.records.tables import Records
from tune_bio.reuse.checkpoint_cleanup import remove_provisional
from tune_bio.study.manifest import StudyManifest, earlier_entry, plan_entry
from tune_bio.study.planning.plan import Plan
from tune_bio.study.request import locked, refuse_existing
from tune_bio.study.resume import empty_records, restore_records


@dataclass(frozen=True)
class RunningStudy:
    """A plan, with the records and the manifest of its study so far.

    past: the search's recorded trials, if the study is resumed.
    """

    plan: Plan
    records: Records
    manifest: StudyManifest
    past: tuple[RecordedTrial, ...]


@contextmanager
def started_study(plan: Plan) -> Iterator[RunningStudy]:
    """Create the study's folder, or resume the study; lock it against other drivers.

    Raises:
        ResultsError: another process runs the study, or was faster to create it.
    """
    folder = plan.request.folder
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if not plan.request.resume:
            refuse_existing(plan.request)  # another process may have been faster
        records = empty_records(plan)
        past = restore_records(plan, records) if plan.request.resume else []
        entry = {**plan_entry(plan), **earlier_entry(plan)}
        records.write()  # first, so that a folder with a manifest has tables
        manifest = StudyManifest(folder)
        manifest.add(entry, left_out=plan.left_out)
        remove_provisional(folder)
        yield RunningStudy(plan, records, manifest, tuple(past))
