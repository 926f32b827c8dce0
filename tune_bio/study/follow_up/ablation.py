"""Ablation: the winner against itself with one change at a time.

Every change is trained to the end under the seeds of the winner's own replicates, and none of them
can win. The question is what each choice contributes, given the winner's other choices.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.errors import InputError
from tune_bio.ray_tune.jobs import Job, jobs_for
from tune_bio.records.ranking import rank, score
from tune_bio.records.tables import Records, config_of_row
from tune_bio.records.trial_names import TrialName
from tune_bio.space.search_space import Choices, Distribution, Range, UnavailableBranch
from tune_bio.space.trial_config import (
    Params,
    TrialConfig,
    Value,
    format_value,
    is_inactive,
    is_same,
)
from tune_bio.space.value_sources import RecordedSource
from tune_bio.study.follow_up.confirmation import ENDED_WELL, ConfirmedFinalist, has_ended
from tune_bio.study.planning.plan import CHOICES, Plan

FACTOR = 3.0  # a number on a log scale is multiplied and divided by this factor
SHARE = 1 / 4  # any other number is moved up and down by this share of its range


@dataclass(frozen=True)
class Change:
    """One hyperparameter of the winner, set to another value.

    others: the hyperparameters that were added, removed or changed with it, as text.
    config: the changed configuration; its seed is ignored.
    trials: the names of its replicates.
    """

    hyperparameter: str
    before: Value
    after: Value
    others: str
    config: TrialConfig
    trials: tuple[str, ...]


@dataclass(frozen=True)
class Ablation:
    """The winner's changes; `notes` say what was left out, and why."""

    winner: ConfirmedFinalist
    changes: tuple[Change, ...]
    notes: tuple[str, ...]


Proposal = tuple[str, TrialConfig]  # the changed hyperparameter and the changed configuration


def plan_ablation(plan: Plan, records: Records, winner: ConfirmedFinalist) -> Ablation:
    """Return the changes of a confirmed winner; nothing is trained here."""
    if plan.selects_nothing:
        note = "no ablation: a grid that was replicated whole has its effects reported instead"
        return Ablation(winner, (), (note,))
    base = config_of_row(records.trials[winner.finalist.trial])
    proposals, notes = _proposals(plan, records, base)
    numbers = _recorded_numbers(records, winner.finalist.trial)
    changes: dict[str, Change] = {}
    for name, config in proposals:
        unfit = _unfit(plan, config)
        if unfit:
            notes.append(f"ablation of {name}={config.params()[name]}: {unfit}")
            continue
        config_id = config.config_id
        if config_id == base.config_id or config_id in changes:
            continue
        number = numbers.setdefault(config_id, len(numbers) + 1)
        trials = tuple(
            str(TrialName.parse(replicate).changed(number))
            for replicate in winner.finalist.replicates
        )
        before, after = base.params(), config.params()
        others = _other_changes(name, before, after)
        changes[config_id] = Change(name, before[name], after[name], others, config, trials)
    return Ablation(winner, tuple(changes.values()), tuple(notes))


def ablation_jobs(records: Records, ablation: Ablation) -> list[Job]:
    """Return the jobs of changes that have not ended; trials with one prefix are one job."""
    trials = []
    for change in ablation.changes:
        for name, seed in zip(change.trials, _seeds(records, ablation), strict=True):
            config = change.config.with_seed(seed)
            if not has_ended(records, name, config):
                trials.append((name, config))
    return jobs_for(trials)


def ablation_entry(plan: Plan, records: Records, ablation: Ablation) -> dict[str, Any]:
    """Return the manifest's entry: the changes, their trials and their scores.

    A trial that failed or diverged has no score, and is listed under `lost`.
    """
    return {
        "winner": ablation.winner.finalist.trial,
        "scores": dict(ablation.winner.scores),
        "changes": [_change_entry(plan, records, change) for change in ablation.changes],
        "notes": list(ablation.notes),
    }


def _change_entry(plan: Plan, records: Records, change: Change) -> dict[str, Any]:
    scores = _scores(plan, records, change)
    return {
        "hyperparameter": change.hyperparameter,
        "before": change.before,
        "after": change.after,
        "others": change.others,
        "trials": list(change.trials),
        "scores": scores,
        "lost": {
            name: records.trials.get(name, {}).get("status", "not begun")
            for name in change.trials
            if name not in scores
        },
    }


def _scores(plan: Plan, records: Records, change: Change) -> dict[str, float]:
    rows = [records.trials.get(name, {}) for name in change.trials]
    ended_well = [row for row in rows if row.get("status") in ENDED_WELL]
    values = {row["trial_id"]: score(row, records, plan.settings) for row in ended_well}
    return {name: value for name, value in values.items() if value is not None}


def _seeds(records: Records, ablation: Ablation) -> list[int]:
    return [records.trials[name]["seed"] for name in ablation.winner.finalist.replicates]


def _recorded_numbers(records: Records, winner: str) -> dict[str, int]:
    """Return the recorded number of each change of this winner, by configuration."""
    position = TrialName.parse(winner).position
    names = ((TrialName.parse(trial), row) for trial, row in records.trials.items())
    return {
        row["config_id"]: name.ablation
        for name, row in names
        if name.ablation and name.position == position
    }


def _proposals(plan: Plan, records: Records, base: TrialConfig) -> tuple[list[Proposal], list[str]]:
    """Return each change with the whole configuration, and notes on what was left out."""
    if plan.listed is not None:
        return _proposals_of_list(plan, base)
    source = _RecordingSource(base.params())
    plan.space.run(source)
    proposals, notes = [], list[str]()
    best_values = _values_best_first(plan, records)
    for name, distribution in source.distributions.items():
        value = base.params().get(name)
        if value is None:
            continue
        alternatives = list(_alternatives(distribution, value))
        if isinstance(distribution, Choices):
            untried = len(alternatives) - CHOICES
            alternatives = _most_promising(alternatives, best_values.get(name, []))
            if untried > 0:
                notes.append(f"ablation of {name}: {untried} further choices were not tried")
        for alternative in alternatives:
            config = _changed(plan, base, best_values, name, alternative)
            if config is not None and config.params().get(name) != value:
                proposals.append((name, config))
    return proposals, notes


class _RecordingSource(RecordedSource):
    """A source of recorded values that keeps each hyperparameter's distribution on that branch."""

    def __init__(self, params: Params) -> None:
        super().__init__(params, {})
        self.distributions: dict[str, Distribution] = {}

    def draw(self, name: str, distribution: Distribution) -> Value:
        self.distributions[name] = distribution
        return super().draw(name, distribution)


def _values_best_first(plan: Plan, records: Records) -> dict[str, list[Value]]:
    """Return the values of each hyperparameter in the search, the best trial's first."""
    rows = [row for row in records.trials.values() if row["replicate"] == 0]
    values: dict[str, list[Value]] = {}
    for _, row in rank(rows, records, plan.settings):
        for name, value in config_of_row(row).params().items():
            values.setdefault(name, []).append(value)
    return values


def _most_promising(alternatives: Sequence[Value], best_first: Sequence[Value]) -> list[Value]:
    """Return the choices to try: those that did best in the search, at most `CHOICES`."""
    ranks = {value: place for place, value in reversed(list(enumerate(best_first)))}
    return sorted(alternatives, key=lambda value: ranks.get(value, len(best_first)))[:CHOICES]


def _alternatives(distribution: Distribution, value: Value) -> Iterator[Value]:
    if isinstance(distribution, Choices):
        yield from (other for other in distribution.values if not is_same(other, value))
    elif isinstance(value, int | float):
        yield from _moved(distribution, value)


def _moved(within: Range, value: float) -> Iterator[Value]:
    """Yield a number moved up and down, unless the range ends within a third of the way."""
    for sign in (1, -1):
        if within.log:
            target = value * FACTOR**sign
        else:
            step = SHARE * (within.high - within.low)
            target = value + sign * (max(1.0, step) if within.integer else step)
        reached = min(max(target, within.low), within.high)
        if within.integer:
            reached = round(reached)
        whole, part = target - value, reached - value
        if within.log:
            whole, part = math.log(target / value), math.log(reached / value)
        if part and part / whole >= 1 / 3:
            yield reached


def _changed(
    plan: Plan,
    base: TrialConfig,
    best_values: Mapping[str, Sequence[Value]],
    name: str,
    value: Value,
) -> TrialConfig | None:
    """Draw the space again with one value changed; None if that branch is unavailable.

    A hyperparameter that exists only with the new value is taken from the search's best trial.
    """
    before = base.params()
    fallback = {other: values[0] for other, values in best_values.items()}
    try:
        drawn = plan.space.run(RecordedSource({**fallback, **before, name: value}, {}))
    except UnavailableBranch:
        return None
    # Rounded to a step again, a value may differ in its last bit.
    unchanged = {k: before[k] for k, v in drawn.items() if k != name and _close(v, before.get(k))}
    return plan.config({**drawn, **unchanged})


def _close(value: Value, recorded: Value | None) -> bool:
    if isinstance(value, float) and isinstance(recorded, int | float):
        return math.isclose(value, recorded)
    return value == recorded


def _proposals_of_list(plan: Plan, base: TrialConfig) -> tuple[list[Proposal], list[str]]:
    """Return the winner with one value at a time of the list's other configurations, and notes."""
    before, proposals, notes = base.params(), list[Proposal](), list[str]()
    listed = [config.all_params() for config in plan.configs]
    for name in plan.searched:
        if name not in before:
            continue
        for value in dict.fromkeys(params[name] for params in listed if name in params):
            params = {**before, name: value}
            active = {k: v for k, v in params.items() if k == name or not is_inactive(k, params)}
            try:
                config = TrialConfig.of(active)
            except InputError as error:
                notes.append(f"ablation of only {name}={value} is not possible: {error.fault}")
                continue
            proposals.append((name, config))
    return proposals, notes


def _unfit(plan: Plan, config: TrialConfig) -> str:
    """Return the reason why the study cannot train a configuration; empty if it can."""
    if Geometry.of(config) not in plan.geometries:
        return f"no trial of the study has these images ({Geometry.of(config)})"
    pair = (config.model, config.weights)
    if config.weights != "none" and pair not in plan.weights.files:
        return f"the study has no weights={config.weights} of {config.model}"
    return ""


def _other_changes(name: str, before: Params, after: Params) -> str:
    """Return the other differences as text."""
    changed = [
        f"{k}={format_value(v)}" for k, v in after.items() if k != name and before.get(k) != v
    ]
    removed = [f"no {k}" for k in before if k not in after]
    return ", ".join([*changed, *removed])
