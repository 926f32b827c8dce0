"""Ranking of trials by the study's metric."""

from tune_bio.records.schema import Row
from tune_bio.records.tables import Records
from tune_bio.space.settings import SearchSettings


def score(row: Row, records: Records, settings: SearchSettings) -> float | None:
    """The metric at the trial's best epoch, or None where it has none."""
    best = row.get("best_epoch")
    if best is None:
        return None
    value: float = records.epochs[row["trial_id"]][best][settings.metric]
    return value


def rank(rows: list[Row], records: Records, settings: SearchSettings) -> list[tuple[float, Row]]:
    """Trials with a score, the best first; among equals the earlier one."""
    scored = [(score(row, records, settings), row) for row in rows]
    sign = -1 if settings.mode == "max" else 1
    known = [(value, row) for value, row in scored if value is not None]
    return sorted(known, key=lambda pair: sign * pair[0])
