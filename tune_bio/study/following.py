"""How many trials may follow a search."""

from dataclasses import dataclass

from tune_bio.space import Choices
from tune_bio.study.plan import Plan

CHOICES = 4  # of one hyperparameter, beside the winner's: an ablation tries no more


@dataclass(frozen=True)
class Following:
    """Trials behind the search's own, at most: what ends well decides how many there are."""

    replicates: int
    resplits: int
    changes: int

    @property
    def trials(self) -> int:
        """All of them."""
        return self.replicates + self.resplits + self.changes


def following(plan: Plan) -> Following:
    """The finalists under fresh seeds and on re-splits, and the winner's changes."""
    wanted, seeds = plan.settings.finalists, plan.settings.replicates
    finalists = plan.trials if wanted == "all" else min(wanted, plan.trials)
    fresh = seeds - 1 if plan.selects_nothing else seeds  # the search's own is one of them
    return Following(
        replicates=finalists * fresh,
        resplits=finalists * seeds if plan.settings.resplit else 0,
        changes=_changes(plan) * seeds if plan.settings.ablate else 0,
    )


def _changes(plan: Plan) -> int:
    """Of each hyperparameter its other choices, or two other numbers."""
    if plan.selects_nothing:
        return 0
    if plan.listed is not None:
        return len(plan.listed) * len(plan.searched)
    distributions = plan.survey.distributions.values()
    return sum(
        max(min(len(d.values) - 1, CHOICES) if isinstance(d, Choices) else 2 for d in found)
        for found in distributions
    )
