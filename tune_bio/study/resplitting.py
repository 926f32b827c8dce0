"""Finalists trained again on re-splits, under fresh seeds: how much does a score owe to the split?

It tells how far a score moves with the patients who happened to be trained on and those who
happened to score it. It confirms nothing: what is trained here is never exported and never sees
the test set.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tune_bio.fingerprints import array_sha256
from tune_bio.jobs import Job, resplit_name
from tune_bio.progress import score
from tune_bio.records import Records
from tune_bio.study.confirmation import ENDED_WELL, Finalist, has_ended, reseeded
from tune_bio.study.plan import Plan
from tune_bio.study.resplits import Resplit
from tune_bio.study.tuning import joined


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
        jobs += [{**one, "split": number} for one in joined(named)]
    return jobs


def describe_resplits(
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
