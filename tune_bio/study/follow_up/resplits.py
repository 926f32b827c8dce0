"""Re-splits: train and validation split anew between their patients.

Those of the test set stay where they are. Images and features are the study's own, in place: a
re-split is two lists of positions. Pixels keep the scale of the study's own training split.
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
from tune_bio.records.trial_names import resplit_name
from tune_bio.study.follow_up.confirmation import ENDED_WELL, Finalist, has_ended, reseeded
from tune_bio.study.planning.plan import Plan


@dataclass(frozen=True)
class Resplit:
    """A new split: positions in train followed by validation, and the new validation split."""

    train: Rows
    val: Rows
    described: SplitImages

    @property
    def key(self) -> str:
        """Tells this split from all others, in everything that is reused."""
        return array_sha256(self.train, self.val)[:16]


def make_resplits(plan: Plan) -> dict[int, Resplit]:
    """The re-splits of a study, from 1 on, as large as its own split; none where not asked for.

    Raises:
        DataError: a class has too few patients to stand on both sides of each.
    """
    if not plan.settings.resplit:
        return {}
    both = concatenate([plan.dataset.train, plan.dataset.val])
    share = len(plan.dataset.val) / len(both)
    labels, groups = both.labels, groups_of(both)
    found = {}
    for number in range(1, plan.settings.replicates + 1):
        seed = derive(plan.settings.seed, "resplit", number) % 2**32
        rest, part = part_of(labels, groups, share, seed)
        for k, name in enumerate(plan.dataset.classes):
            if not (labels[rest] == k).any() or not (labels[part] == k).any():
                raise DataError(
                    f"a new split of train and validation has class {name!r} on one side only",
                    "leave --resplit out, or add images of more patients of it",
                )
        described = SplitImages(both.names[part], both.patients[part], labels[part])
        found[number] = Resplit(rest, part, described)
    return found


def shared_splits(found: Mapping[int, Resplit]) -> dict[int, SharedSplit]:
    """What trials need of them."""
    return {number: SharedSplit(one.train, one.val, one.key) for number, one in found.items()}


def resplit_jobs(
    plan: Plan, records: Records, finalists: Sequence[Finalist], numbers: Sequence[int]
) -> list[Job]:
    """What is still to be trained; on one split, trials that share a prefix are one training."""
    jobs = []
    for number in numbers:
        named = []
        for finalist in finalists:
            trial = resplit_name(finalist.trial, number)
            params = reseeded(records, finalist, number)
            if not has_ended(records, trial, params):
                named.append((trial, params))
        jobs += [{**one, "split": number} for one in jobs_for(named)]
    return jobs


def resplits_entry(
    plan: Plan, records: Records, finalists: Sequence[Finalist], found: Mapping[int, Resplit]
) -> dict[str, Any]:
    """The manifest's entry: the splits, and each finalist's scores on them."""
    described: dict[str, Any] = {
        "splits": [
            {
                "number": number,
                "train": {"images": len(one.train), "sha256": array_sha256(one.train)},
                "val": {"images": len(one.val), "sha256": array_sha256(one.val)},
            }
            for number, one in found.items()
        ],
        "finalists": [],
    }
    for finalist in finalists:
        rows = [records.trials.get(resplit_name(finalist.trial, number), {}) for number in found]
        well = [row for row in rows if row.get("status") in ENDED_WELL]
        scores = {row["trial_id"]: score(row, records, plan.settings) for row in well}
        described["finalists"].append(
            {"trial": finalist.trial, "config_id": finalist.config_id, "scores": scores}
        )
    return described
