"""The disk space that a study's checkpoints may use."""

import shutil
import time
from collections.abc import Iterable

from tune_bio.records.ranking import rank
from tune_bio.records.schema import Row
from tune_bio.records.tables import Records
from tune_bio.records.trial_names import TrialName
from tune_bio.reuse.checkpoint_cleanup import remove_checkpoints, used_bytes
from tune_bio.space.settings import SearchSettings

GIB = 2**30
BEST_KEPT = 5  # trials whose weights are kept, whatever the limit
UNFINISHED = ("running", "interrupted")  # these go on from their last checkpoint
TIME_SHARE = (
    20  # a large study takes longer to check; at most 1/20 of the driver's time is spent on it
)


class CheckpointBudget:
    """The limit `settings.checkpoint_gib` on the checkpoints of a study.

    `all_confirm`: every trial of the search is evaluated, so the weights of all are kept.
    """

    def __init__(
        self, records: Records, settings: SearchSettings, *, all_confirm: bool = False
    ) -> None:
        self._records = records
        self._settings = settings
        self._all_confirm = all_confirm
        self._clean_after = 0.0

    @property
    def limit(self) -> int:
        """The limit in bytes: at most half of the space that is free or used by checkpoints."""
        used = used_bytes(self._records.folder)
        free = shutil.disk_usage(self._records.folder).free
        return int(min(self._settings.checkpoint_gib * GIB, (free + used) / 2))

    def clean(self, *, at_once: bool = False) -> None:
        """Remove the least useful checkpoints beyond the limit; at intervals, unless `at_once`."""
        started = time.monotonic()
        if started < self._clean_after and not at_once:
            return
        rows = list(self._records.trials.values())
        searched = [row for row in rows if row["replicate"] == 0]
        best = rank(searched, self._records, self._settings)
        best_kept = best[: None if self._all_confirm else BEST_KEPT]
        remove_checkpoints(
            self._records.folder,
            self.limit,
            running=[row["trial_id"] for row in rows if row["status"] in UNFINISHED],
            best=[*(row["trial_id"] for _, row in best_kept), *_replicates(rows)],
        )
        took = time.monotonic() - started
        self._clean_after = time.monotonic() + TIME_SHARE * took


def _replicates(rows: Iterable[Row]) -> list[str]:
    return [row["trial_id"] for row in rows if TrialName.parse(row["trial_id"]).confirms]
