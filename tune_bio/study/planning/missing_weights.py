"""Unavailable weights, and the parts of a study that are not run because of them."""

from collections.abc import Iterable

from tune_bio.errors import WeightsError
from tune_bio.models.weights.published import Resolved
from tune_bio.space.branches import Branches, walk_branches, without_unavailable
from tune_bio.space.search_space import ModelWeights, SearchSpace
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import Params
from tune_bio.study.planning.plan import NotRun, complete_config, deduplicate
from tune_bio.study.request import Request


def without_missing(
    space: SearchSpace,
    listed: tuple[Params, ...] | None,
    branches: Branches,
    weights: Resolved,
    request: Request,
) -> tuple[SearchSpace, tuple[Params, ...] | None, list[str]]:
    """Return the space (or the list) without branches whose weights are missing, and notes.

    Raises:
        WeightsError: nothing is left, or missing weights are an error.
    """
    if not weights.missing:
        return space, listed, []
    reasons = [f"{m} with weights={w}: {why}" for (m, w), why in weights.missing.items()]
    hint = "put the file into --weights-dir or TORCH_HOME, or go online once"
    if request.missing_weights == "error":
        raise WeightsError("unavailable weights: " + "; ".join(reasons), hint)
    missing = frozenset(weights.missing)
    if listed is not None:
        remaining = tuple(p for p in listed if _pair(p) not in missing)
        reasons += [f"{len(listed) - len(remaining)} of the listed configurations are left out"]
        if not remaining:
            raise WeightsError("no listed configuration has its weights: " + reasons[0], hint)
        return space, remaining, reasons
    reduced = without_unavailable(space, missing)
    remaining_branches = walk_branches(reduced)
    if not remaining_branches.leaves:
        raise WeightsError("nothing is left to search: " + "; ".join(reasons), hint)
    for name in branches.distributions:
        before, after = branches.values(name), remaining_branches.values(name)
        if len(before) > 1 and len(after) == 1:
            reasons.append(f"{name} is left with one choice: {after[0]}")
        elif before and not after:
            reasons.append(f"{name} is no longer drawn")
    return reduced, None, reasons


def not_run(
    listed: Iterable[Params], weights: Resolved, settings: SearchSettings, size: int
) -> tuple[NotRun, ...]:
    """Return the configurations of a list, each once, whose weights are unavailable."""
    unavailable, _ = deduplicate([p for p in listed if _pair(p) in weights.missing], settings, size)
    reasons = {pair: f"no {pair[1]} for {pair[0]}: {why}" for pair, why in weights.missing.items()}
    return tuple(
        NotRun(complete_config(p, settings, size).all_params(), reasons[_pair(p)])
        for p in unavailable
    )


def _pair(params: Params) -> ModelWeights:
    return str(params.get("model")), str(params.get("weights", "none"))
