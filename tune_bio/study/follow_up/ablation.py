"""Ablation: the winner against itself with one change at a time.

Every change is trained to the end under the seeds of the winner's own replicates, and none of them
can win: what is asked is what each choice is worth beside the others that the winner has made.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.errors import InputError
from tune_bio.ray_tune.jobs import Job, jobs_for
from tune_bio.records.ranking import rank, score
from tune_bio.records.tables import Records, config_of_row
from tune_bio.records.trial_names import ablation_name, replicate_of
from tune_bio.space.search_space import Choices, Distribution, Range, UnavailableBranch
from tune_bio.space.trial_config import (
    Params,
    TrialConfig,
    Value,
    config_id,
    format_value,
    is_inactive,
    is_same,
)
from tune_bio.space.value_sources import RecordedSource
from tune_bio.study.follow_up.confirmation import ENDED_WELL, ConfirmedFinalist, has_ended
from tune_bio.study.planning.plan import CHOICES, Plan

FACTOR = 3.0  # a number on a log scale is multiplied and divided by this
SHARE = 1 / 4  # and another moved up and down by this share of its range


@dataclass(frozen=True)
class Change:
    """One hyperparameter of the winner, set to another value.

    params: complete, without the seed. `others` came, went or had to move with it, in words.
    trials: its replicates' names.
    """

    hyperparameter: str
    before: Value
    after: Value
    others: str
    params: Params
    trials: tuple[str, ...]


@dataclass(frozen=True)
class Ablation:
    """The winner's changes; `notes` tell what was left out, and why."""

    winner: ConfirmedFinalist
    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def plan_ablation(plan: Plan, records: Records, winner: ConfirmedFinalist) -> Ablation:
    """The changes of a confirmed winner; nothing is trained here."""
    if plan.selects_nothing:
        note = "no ablation: of a grid that was replicated whole the effects are told instead"
        return Ablation(winner, (), (note,))
    base = config_of_row(records.trials[winner.finalist.trial])
    proposed, notes = _proposed(plan, records, base)
    known = _numbers(records, winner.finalist.trial)
    found: dict[str, Change] = {}
    for name, params in proposed:
        config = TrialConfig.of(params)
        unfit = _unfit(plan, config)
        if unfit:
            notes.append(f"ablation of {name}={params[name]}: {unfit}")
            continue
        identity = config_id(config)
        if identity == config_id(base) or identity in found:
            continue
        number = known.setdefault(identity, len(known) + 1)
        trials = tuple(
            ablation_name(winner.finalist.trial, number, replicate_of(trial))
            for trial in winner.finalist.replicates
        )
        before, after = base.params(), config.params()
        others = _others(name, before, after)
        found[identity] = Change(name, before[name], after[name], others, after, trials)
    return Ablation(winner, tuple(found.values()), tuple(notes))


def ablation_jobs(records: Records, ablation: Ablation) -> list[Job]:
    """What is still to be trained; trials that share a prefix are one training."""
    named = []
    for change in ablation.changes:
        for trial, seed in zip(change.trials, _seeds(records, ablation), strict=True):
            params = {**change.params, "seed": seed}
            if not has_ended(records, trial, params):
                named.append((trial, params))
    return jobs_for(named)


def ablation_entry(plan: Plan, records: Records, ablation: Ablation) -> dict[str, Any]:
    """The manifest's entry: which trials are ablations, of what, and what they scored.

    A trial that failed or diverged has no score, and stands under `lost`.
    """
    return {
        "winner": ablation.winner.finalist.trial,
        "scores": dict(ablation.winner.scores),
        "changes": [
            {
                "hyperparameter": change.hyperparameter,
                "before": change.before,
                "after": change.after,
                "others": change.others,
                "trials": list(change.trials),
                "scores": _scores(plan, records, change),
                "lost": {
                    trial: records.trials.get(trial, {}).get("status", "not begun")
                    for trial in change.trials
                    if trial not in _scores(plan, records, change)
                },
            }
            for change in ablation.changes
        ],
        "notes": list(ablation.notes),
    }


def _scores(plan: Plan, records: Records, change: Change) -> dict[str, float]:
    rows = [records.trials.get(trial, {}) for trial in change.trials]
    well = [row for row in rows if row.get("status") in ENDED_WELL]
    values = {row["trial_id"]: score(row, records, plan.settings) for row in well}
    return {trial: value for trial, value in values.items() if value is not None}


def _seeds(records: Records, ablation: Ablation) -> list[int]:
    return [records.trials[trial]["seed"] for trial in ablation.winner.finalist.replicates]


def _numbers(records: Records, winner: str) -> dict[str, int]:
    """Which number each change of this winner has on record, so that none has two."""
    pattern = re.compile(rf"{winner}a(\d+)r\d+")
    matches = [(pattern.fullmatch(trial), row) for trial, row in records.trials.items()]
    return {row["config_id"]: int(match[1]) for match, row in matches if match}


def _proposed(
    plan: Plan, records: Records, base: TrialConfig
) -> tuple[list[tuple[str, Params]], list[str]]:
    """Each changed hyperparameter with the whole configuration; and what was left out."""
    if plan.listed is not None:
        return _from_list(plan, base)
    source = _Noting(base.params())
    plan.space.run(source)
    found, notes = [], list[str]()
    seen = _best_seen(plan, records)
    for name, distribution in source.seen.items():
        value = base.params().get(name)
        if value is None:
            continue
        values = list(_alternatives(distribution, value))
        if isinstance(distribution, Choices):
            values, more = _best_first(values, seen.get(name, [])), len(values) - CHOICES
            if more > 0:
                notes.append(f"ablation of {name}: {more} further choices were not tried")
        for other in values:
            params = _changed(plan, base, seen, name, other)
            if params is not None and params.get(name) != value:
                found.append((name, params))
    return found, notes


class _Noting(RecordedSource):
    """Draws what is on record, and keeps what each hyperparameter might have been there."""

    def __init__(self, params: Params) -> None:
        super().__init__(params, {})
        self.seen: dict[str, Distribution] = {}

    def draw(self, name: str, distribution: Distribution) -> Value:
        self.seen[name] = distribution
        return super().draw(name, distribution)


def _best_seen(plan: Plan, records: Records) -> dict[str, list[Value]]:
    """The values of each hyperparameter in the search, that of the best trial first."""
    rows = [row for row in records.trials.values() if row["replicate"] == 0]
    found: dict[str, list[Value]] = {}
    for _, row in rank(rows, records, plan.settings):
        for name, value in config_of_row(row).params().items():
            found.setdefault(name, []).append(value)
    return found


def _best_first(values: Sequence[Value], seen: Sequence[Value]) -> list[Value]:
    """As many as are tried: those that did best in the search."""
    return sorted(values, key=lambda v: seen.index(v) if v in seen else len(seen))[:CHOICES]


def _alternatives(distribution: Distribution, value: Value) -> Iterator[Value]:
    if isinstance(distribution, Choices):
        yield from (other for other in distribution.values if not is_same(other, value))
    elif isinstance(value, int | float):
        yield from _moved(distribution, value)


def _moved(within: Range, value: float) -> Iterator[Value]:
    """A number up and down; not where the range ends before a third of the way."""
    for sign in (1, -1):
        if within.log:
            wanted = value * FACTOR**sign
        else:
            step = SHARE * (within.high - within.low)
            wanted = value + sign * (max(1.0, step) if within.integer else step)
        other = min(max(wanted, within.low), within.high)
        if within.integer:
            other = round(other)
        whole, part = wanted - value, other - value
        if within.log:
            whole, part = math.log(wanted / value), math.log(other / value)
        if part and part / whole >= 1 / 3:
            yield other


def _changed(
    plan: Plan, base: TrialConfig, seen: Mapping[str, Sequence[Value]], name: str, value: Value
) -> Params | None:
    """The space drawn again with one value changed; None where that cannot be had.

    A hyperparameter that exists beside the new value alone is that of the search's best trial.
    """
    before = base.params()
    fallback = {other: values[0] for other, values in seen.items()}
    try:
        drawn = plan.space.run(RecordedSource({**fallback, **before, name: value}, {}))
    except UnavailableBranch:
        return None
    # Rounded to a step again, a value may differ in its last bit.
    alike = {k: before[k] for k, v in drawn.items() if k != name and _close(v, before.get(k))}
    params = plan.finish({**drawn, **alike})
    return {key: v for key, v in params.items() if key != "seed"}


def _close(value: Value, recorded: Value | None) -> bool:
    if isinstance(value, float) and isinstance(recorded, int | float):
        return math.isclose(value, recorded)
    return value == recorded


def _from_list(plan: Plan, base: TrialConfig) -> tuple[list[tuple[str, Params]], list[str]]:
    """The values that the list's other configurations have, each alone."""
    assert plan.listed is not None
    before, found, notes = base.params(), list[tuple[str, Params]](), list[str]()
    listed = [plan.finish(params) for params in plan.listed]
    for name in plan.searched:
        if name not in before:
            continue
        values = dict.fromkeys(params[name] for params in listed if name in params)
        for value in values:
            params = {**before, name: value}
            active = {k: v for k, v in params.items() if k == name or not is_inactive(k, params)}
            try:
                config = TrialConfig.of(active)
            except InputError as error:
                notes.append(f"ablation of {name}={value} alone is not possible: {error.fault}")
                continue
            found.append((name, config.params()))
    return found, notes


def _unfit(plan: Plan, config: TrialConfig) -> str:
    """Why the study is not prepared to train this; empty where it is."""
    if Geometry.of(config) not in plan.geometries:
        return f"no trial of the study has these images ({Geometry.of(config)})"
    pair = (config.model, config.weights)
    if config.weights != "none" and pair not in plan.weights.found:
        return f"the study has no weights={config.weights} of {config.model}"
    return ""


def _others(name: str, before: Params, after: Params) -> str:
    """What else differs, in words."""
    moved = [f"{k}={format_value(v)}" for k, v in after.items() if k != name and before.get(k) != v]
    gone = [f"no {k}" for k in before if k not in after]
    return ", ".join([*moved, *gone])
