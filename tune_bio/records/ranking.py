"""Ranking of trials by the study's metric."""

from tune_bio.records.schema import Row
from tune_bio.records.tables import Records
from tune_bio.space.settings import SearchSettings


def score(row: Row, records: Records, settings: SearchSettings) -> float | None:
    """Return the metric at the trial's best epoch; None if it has no best epoch."""
    best = row.get("best_epoch")
    if best is None:
        return None
    value: float = records.epochs[row["trial_id"]][best][settings.metric]
    return value


def rank(rows: list[Row], records: Records, settings: SearchSettings) -> list[tuple[float, Row]]:
    """Return the trials that have a score, the best first, ties in their order."""
    scored = [(score(row, records, settings), row) for row in rows]
    sign = -1 if settings.mode == "max" else 1
    known = [(value, row) for value, row in scored if value is not None]
    return sorted(known, key=lambda pair: sign * pair[0])
