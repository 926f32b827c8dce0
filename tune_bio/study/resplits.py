"""Re-splits: train and validation split anew between their patients.

Those of the test set stay where they are. Images and features are the study's own, in place: a
re-split is two lists of positions. Pixels keep the scale of the study's own training split.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tune_bio.datasets.images import joined
from tune_bio.datasets.pixels import Rows
from tune_bio.datasets.splits import part_of
from tune_bio.datasets.together import groups_of
from tune_bio.errors import DataError
from tune_bio.fingerprints import array_sha256
from tune_bio.predictions import Described
from tune_bio.seeding import derive
from tune_bio.sharing import SharedSplit
from tune_bio.study.plan import Plan


@dataclass(frozen=True)
class Resplit:
    """A new split: positions in train followed by validation, and the new validation split."""

    train: Rows
    val: Rows
    described: Described

    @property
    def key(self) -> str:
        """Tells this split from all others, in everything that is reused."""
        return array_sha256(self.train, self.val)[:16]


def resplits(plan: Plan) -> dict[int, Resplit]:
    """The re-splits of a study, from 1 on, as large as its own split; none where not asked for.

    Raises:
        DataError: a class has too few patients to stand on both sides of each.
    """
    if not plan.settings.resplit:
        return {}
    both = joined([plan.dataset.train, plan.dataset.val])
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
        described = Described(both.names[part], both.patients[part], labels[part])
        found[number] = Resplit(rest, part, described)
    return found


def shared_splits(found: Mapping[int, Resplit]) -> dict[int, SharedSplit]:
    """What trials need of them."""
    return {number: SharedSplit(one.train, one.val, one.key) for number, one in found.items()}
