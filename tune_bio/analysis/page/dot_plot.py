"""A dot plot: every trial's score, one row a setting, in per cent of the row's width."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from tune_bio.analysis.study_records import PARAMS, StudyRecords
from tune_bio.analysis.tables.trial_table import configuration, format_interval
from tune_bio.space.trial_config import format_value

MOST_ROWS = 16
FEW_VALUES = 6
NEAR_WORST = 0.1  # this share of the trials may lie beyond the worse end,
FAR_OFF = 1.0  # where the worst lies so many widths of the others beyond it
MARGIN = 4.0  # per cent left free at either end


@dataclass(frozen=True)
class Dot:
    """A trial: where it stands, from 0 to 100 and in pixels from the row's middle, and its kind.

    kind: "trial", "seed" (a replicate that counts) or "beyond" (at the worse end, or past it).
    """

    x: float
    y: float
    kind: str
    told: str


@dataclass(frozen=True)
class Range:
    """A test score, with its interval where it has one: low, value, high, from 0 to 100."""

    low: float
    value: float
    high: float
    told: str


@dataclass(frozen=True)
class DotRow:
    """A setting, or a study: its dots, the middle of them, its test scores."""

    label: str
    note: str
    dots: tuple[Dot, ...]
    middle: float | None
    tests: tuple[Range, ...]


@dataclass(frozen=True)
class DotPlot:
    """Rows on one scale; `ticks` are places on it with their labels, `hidden` counts rows."""

    rows: tuple[DotRow, ...]
    ticks: tuple[tuple[float, str], ...]
    hidden: int
    by: str

    @property
    def kinds(self) -> set[str]:
        """Of the dots that are there."""
        return {dot.kind for row in self.rows for dot in row.dots}

    @property
    def tested(self) -> bool:
        """Whether a row has a test score."""
        return any(row.tests for row in self.rows)


@dataclass(frozen=True)
class Group:
    """The trials of a row: the search's own scores, those of seeds, and (value, low, high)."""

    label: str
    scores: pd.Series
    seeds: pd.Series
    tests: tuple[tuple[str, float, float, float], ...] = ()

    @property
    def every(self) -> pd.Series:
        """All scores."""
        return pd.concat([self.scores, self.seeds]) if len(self.seeds) else self.scores


def by_setting(study: StudyRecords) -> DotPlot | None:
    """The scores of a study's trials, the best setting first; None where there are none."""
    if study.ranking.empty:
        return None
    names = _setting(study)
    if names is None:
        by, groups = "configuration", _by_configuration(study)
    else:
        by, groups = " · ".join(names), _by_values(study, names)
    return plot(groups, ascending=study.ascending, by=by)


def plot(groups: Sequence[Group], *, ascending: bool, by: str) -> DotPlot:
    """Rows for groups with scores, as given, on one scale.

    Args:
        groups: at most MOST_ROWS are shown.
        ascending: whether small scores are good; the scale's other end is cut where a few trials,
            such as diverged ones, lie far off.
        by: what tells the groups apart.
    """
    scored = [group for group in groups if len(group.every)]
    shown = scored[:MOST_ROWS]
    low, high = _limits(shown, ascending)

    def place(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low) if high > low else 0.5
        return round(MARGIN + (100 - 2 * MARGIN) * share, 2)

    rows = []
    for group in shown:
        dots = [
            Dot(
                place(score),
                round(((k * 0.618 + 0.5) % 1 - 0.5) * 12, 1) if len(scores) > 1 else 0.0,
                "beyond" if not low <= score <= high else kind,
                f"{trial}: {score:.4f}",
            )
            for kind, scores in (("trial", group.scores), ("seed", group.seeds))
            for k, (trial, score) in enumerate(scores.items())
        ]
        tests = [
            Range(
                place(value if math.isnan(a) else a),
                place(value),
                place(value if math.isnan(b) else b),
                f"{trial} on test: {format_interval(value, a, b)}",
            )
            for trial, value, a, b in group.tests
        ]
        middle = float((group.seeds if len(group.seeds) else group.scores).median())
        counts = [(len(group.scores), "trial"), (len(group.seeds), "seed")]
        told = ", ".join(f"{n} {what}{'s' if n > 1 else ''}" for n, what in counts if n)
        of_seeds = " of the seeds" if len(group.seeds) and len(group.scores) else ""
        note = f"{told} · median{of_seeds} {middle:.3f}"
        rows.append(DotRow(group.label, note, tuple(dots), place(middle), tuple(tests)))
    ticks = tuple((place(value), f"{value:g}") for value in _ticks(low, high))
    return DotPlot(tuple(rows), ticks, len(scored) - len(rows), by)


def _setting(study: StudyRecords) -> list[str] | None:
    """The hyperparameters that make a setting: those of names, else one of few values.

    None where every configuration is a setting of its own.
    """
    if study.whole:
        return None
    values = study.trials[[PARAMS + name for name in study.searched]]
    named = [n for n in study.searched if not pd.api.types.is_numeric_dtype(values[PARAMS + n])]
    if named:
        return named
    few = [n for n in study.searched if values[PARAMS + n].nunique() <= FEW_VALUES]
    return few[:1] or None


def _by_values(study: StudyRecords, names: list[str]) -> list[Group]:
    columns = [PARAMS + name for name in names]
    keys = study.trials[columns].astype(object)
    labels = keys.apply(lambda row: " · ".join(format_value(v) for v in row if pd.notna(v)), axis=1)
    of_config = dict(zip(study.trials["config_id"], labels, strict=True))
    scores = study.ranking.set_index("trial_id")["score"]
    of_trial = labels[study.ranking.index].to_numpy()
    again = _replicates(study)
    seeds, of_seed = again.set_index("trial_id")["score"], again["config_id"].map(of_config)
    return [
        Group(
            str(label),
            scores[of_trial == label],
            seeds[(of_seed == label).to_numpy()],
            test_scores(study, list(seeds.index[(of_seed == label).to_numpy()])),
        )
        for label in dict.fromkeys(of_trial)
    ]


def _by_configuration(study: StudyRecords) -> list[Group]:
    """Each configuration on a row; where all were replicated, the best mean first."""
    both = pd.concat([study.trials.dropna(subset=["score"]), _replicates(study)])
    groups = []
    for _, rows in both.groupby("config_id", sort=False):
        scores = rows.set_index("trial_id")["score"]
        empty = scores.iloc[:0]
        of_seeds = scores if study.whole else scores[(rows["replicate"] > 0).to_numpy()]
        others = empty if study.whole else scores[(rows["replicate"] == 0).to_numpy()]
        label = f"{rows['trial_id'].iloc[0]} · {configuration(study, rows.iloc[0])}"
        groups.append(Group(label, others, of_seeds, test_scores(study, list(scores.index))))
    return sorted(groups, key=lambda g: float(g.every.mean()), reverse=not study.ascending)


def _replicates(study: StudyRecords) -> pd.DataFrame:
    """Those that confirm a configuration; all that are there while none is confirmed."""
    counted = {trial for one in study.confirmed for trial in one["scores"]}
    scored = study.replicates.dropna(subset=["score"])
    return scored[scored["trial_id"].isin(counted)] if counted else scored


def test_scores(
    study: StudyRecords, trials: list[str]
) -> tuple[tuple[str, float, float, float], ...]:
    """The test scores, of the study's metric, of middle replicates among these trials."""
    middle = {one["median"] for one in study.confirmed} & set(trials)
    found = study.evaluations
    if not middle or found.empty:
        return ()
    wanted = found["trial"].isin(middle) & (found["split"] == "test")
    rows = found[wanted & (found["metric"] == study.metric.removeprefix("val_"))]
    rows = rows.dropna(subset=["value"])
    return tuple(
        (str(trial), float(value), float(low), float(high))
        for trial, value, low, high in rows[["trial", "value", "low", "high"]].itertuples(
            index=False
        )
    )


def _limits(groups: Sequence[Group], ascending: bool) -> tuple[float, float]:
    every = pd.concat([group.every for group in groups])
    tests = [end for group in groups for _, *ends in group.tests for end in ends]
    tests = [end for end in tests if not math.isnan(end)]
    worst, better = (every.max(), every.min()) if ascending else (every.min(), every.max())
    worse = every.quantile(1 - NEAR_WORST if ascending else NEAR_WORST)
    if abs(worst - worse) <= FAR_OFF * abs(better - worse):
        worse = worst
    ends = [float(worse), float(better), *tests, *(float(g.every.median()) for g in groups)]
    return min(ends), max(ends)


def _ticks(low: float, high: float) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    places = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [round(float(value), 10) for value in places if low <= value <= high]
