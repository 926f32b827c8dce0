"""Re-splits: train and validation are split anew between their patients.

The test set stays as it is. Images and features are the study's own, read in place: a re-split is
two lists of positions. Pixels keep the scale of the study's own training split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_bio.common.hashing import array_sha256
from tune_bio.common.seeding import derive
from tune_bio.datasets.images import concatenate
from tune_bio.datasets.pixels import Rows
from tune_bio.datasets.splits import groups_of, part_of
from tune_bio.errors import DataError
from tune_bio.ray_tune.jobs import Job, jobs_for
from tune_bio.ray_tune.object_store import SharedSplit
from tune_bio.records.predictions import SplitImages
from tune_bio.records.ranking import score
from tune_bio.records.tables import Records
from tune_bio.records.trial_names import TrialName
from tune_bio.study.follow_up.confirmation import ENDED_WELL, Finalist, has_ended, reseeded
from tune_bio.study.planning.plan import Plan


@dataclass(frozen=True)
class Resplit:
    """A new split: positions in train followed by validation, and the new validation split."""

    train: Rows
    val: Rows
    val_images: SplitImages

    @property
    def key(self) -> str:
        """Identifies this split in the keys of everything that is reused."""
        return array_sha256(self.train, self.val)[:16]


def make_resplits(plan: Plan) -> dict[int, Resplit]:
    """Make the re-splits of a study, numbered from 1, as large as its own split; {} without them.

    Raises:
        DataError: a class has too few patients for both sides of every re-split.
    """
    if not plan.settings.resplit:
        return {}
    both = concatenate([plan.dataset.train, plan.dataset.val])
    share = len(plan.dataset.val) / len(both)
    labels, groups = both.labels, groups_of(both)
    resplits_by_number = {}
    for number in range(1, plan.settings.replicates + 1):
        seed = derive(plan.settings.seed, "resplit", number) % 2**32
        rest, part = part_of(labels, groups, share, seed)
        for k, name in enumerate(plan.dataset.classes):
            if not (labels[rest] == k).any() or not (labels[part] == k).any():
                raise DataError(
                    f"a new split of train and validation has class {name!r} on one side only",
                    "leave --resplit out, or add images of more patients of this class",
                )
        val_images = SplitImages(both.names[part], both.patients[part], labels[part])
        resplits_by_number[number] = Resplit(rest, part, val_images)
    return resplits_by_number


def shared_splits(resplits: Mapping[int, Resplit]) -> dict[int, SharedSplit]:
    """Return the re-splits in the form in which trials share them."""
    return {
        number: SharedSplit(resplit.train, resplit.val, resplit.key)
        for number, resplit in resplits.items()
    }


def resplit_jobs(
    records: Records, finalists: Sequence[Finalist], numbers: Sequence[int]
) -> list[Job]:
    """Return the jobs that have not ended; on one split, trials with one prefix are one job."""
    jobs = []
    for number in numbers:
        trials = []
        for finalist in finalists:
            name = _name_on_resplit(finalist, number)
            config = reseeded(records, finalist, number)
            if not has_ended(records, name, config):
                trials.append((name, config))
        jobs += [{**job, "split": number} for job in jobs_for(trials)]
    return jobs


def resplits_entry(
    plan: Plan, records: Records, finalists: Sequence[Finalist], resplits: Mapping[int, Resplit]
) -> dict[str, Any]:
    """Return the manifest's entry: the splits, and each finalist's scores on them."""
    return {
        "splits": [
            {
                "number": number,
                "train": {"images": len(resplit.train), "sha256": array_sha256(resplit.train)},
                "val": {"images": len(resplit.val), "sha256": array_sha256(resplit.val)},
            }
            for number, resplit in resplits.items()
        ],
        "finalists": [
            {
                "trial": finalist.trial,
                "config_id": finalist.config_id,
                "scores": _scores(plan, records, finalist, list(resplits)),
            }
            for finalist in finalists
        ],
    }


def _scores(
    plan: Plan, records: Records, finalist: Finalist, numbers: Sequence[int]
) -> dict[str, float | None]:
    rows = [records.trials.get(_name_on_resplit(finalist, number), {}) for number in numbers]
    ended_well = [row for row in rows if row.get("status") in ENDED_WELL]
    return {row["trial_id"]: score(row, records, plan.settings) for row in ended_well}


def _name_on_resplit(finalist: Finalist, number: int) -> str:
    return str(TrialName.parse(finalist.trial).on_resplit(number))
