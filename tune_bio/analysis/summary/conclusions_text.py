"""Conclusions in words, for summary.md."""

import math
from collections.abc import Sequence

from tune_bio.analysis.conclusions import Ablated, Conclusions
from tune_bio.analysis.finalist_comparison import ConfigurationComparison, ModelComparison
from tune_bio.analysis.statistics import (
    Association,
    Comparison,
    DifferenceOverSeeds,
    Effect,
    Importances,
    NoiseFloor,
    Selection,
)
from tune_bio.common.labels import metric_name, short_name


def conclusions_text(conclusions: Conclusions, metric: str) -> list[str]:
    """A sentence or two for each thing that the study allows to be said."""
    metric, told = metric_name(metric), list[str]()
    if conclusions.selection is not None:
        told.append(_selection(conclusions.selection, metric))
    if conclusions.noise is not None:
        told.append(_noise(conclusions.noise, metric))
    if conclusions.noise_of_splits is not None:
        told.append(_noise_of_splits(conclusions.noise_of_splits, conclusions.noise, metric))
    told += [_versus(one) for one in conclusions.versus]
    told += [_settings(one) for one in conclusions.settings]
    told += [_effect(one, metric, conclusions.effects_at) for one in conclusions.effects]
    if conclusions.importances is not None:
        told.append(_importances(conclusions.importances, metric))
    if any(one.effect for one in conclusions.ablated):
        told.append(_ablated(conclusions.ablated, metric))
    return [f"- {sentence}" for sentence in (*told, *conclusions.notes)]


def _selection(found: Selection, metric: str) -> str:
    return (
        f"**Selection.** The best {metric} of the search is {found.score:.4f}; corrected for "
        f"having been chosen it is {found.value:.4f} ({found.low:.4f} to {found.high:.4f}), an "
        f"optimism of {found.optimism:+.4f} ({found.method})."
    )


def _noise(found: NoiseFloor, metric: str) -> str:
    note = f" {_sentence(found.note)}" if found.note else ""
    return (
        f"**Noise floor.** Under fresh seeds {metric} has a standard deviation of {found.sd:.4f} "
        f"(at most {found.upper:.4f} with 95 % confidence; {found.degrees_of_freedom} degrees of "
        f"freedom).{note}"
    )


def _noise_of_splits(found: NoiseFloor, seeds: NoiseFloor | None, metric: str) -> str:
    beside = f", beside {seeds.sd:.4f} under fresh seeds alone" if seeds else ""
    note = f" {_sentence(found.note)}" if found.note else ""
    return (
        f"**Noise floor with re-splits.** With train and validation split anew between their "
        f"patients, and fresh seeds, {metric} has a standard deviation of {found.sd:.4f}{beside} "
        f"(at most {found.upper:.4f} with 95 % confidence; {found.degrees_of_freedom} degrees of "
        f"freedom). So much does a score owe to who was trained on and who was looked at.{note}"
    )


def difference(found: Comparison | DifferenceOverSeeds, p_value: float) -> str:
    """ "+0.008 (-0.011 to +0.027), p = 0.39"; without an interval or p where there is none."""
    limits = "" if math.isnan(found.low) else f" ({found.low:+.3f} to {found.high:+.3f})"
    p = "no p-value" if math.isnan(p_value) else f"p = {p_value:.2g}"
    return f"{found.difference:+.3f}{limits}, {p}"


def _versus(one: ModelComparison) -> str:
    found = one.comparison
    verdict = "differ" if one.p_value < 0.05 else "cannot be told apart"
    return (
        f"**As models, {one.winner} and {one.other} {verdict} on the test set**, for other "
        f"patients: {short_name(found.metric)} {found.a:.3f} and {found.b:.3f}, a difference of "
        f"{difference(found, one.p_value)} after Holm's correction ({found.method})."
    )


def _settings(one: ConfigurationComparison) -> str:
    found = one.difference
    verdict = "differ" if one.p_value < 0.05 else "cannot be told apart"
    return (
        f"**As settings, those of {one.winner} and {one.other} {verdict} on the test set**, for "
        f"other seeds and other patients: {short_name(found.metric)} {one.mean.value:.3f} and "
        f"{one.mean_of_other.value:.3f} in the mean over their replicates, a difference of "
        f"{difference(found, one.p_value)} after Holm's correction ({found.method}; {found.note})."
    )


def _effect(one: Effect, metric: str, at: str) -> str:
    needed = "more than 10,000" if one.seeds_needed is None else str(one.seeds_needed)
    separator = "; " if any(", " in level for level in one.means) else ", "
    means = separator.join(f"{level}: {mean:.4f}" for level, mean in one.means.items())
    return (
        f"**{one.hyperparameter} {one.verdict}**: {metric} at the {at}, mean by level {means}; "
        f"p = {one.p_value:.2g} after Holm's correction. Detectable here in 80 % of such grids: "
        f"{one.detectable:.4f}; seeds for {one.told(one.margin)}: {needed}."
    )


def _ablated(found: Sequence[Ablated], metric: str) -> str:
    """What is told apart from the winner; the table has the rest."""
    effects = [(one, one.effect) for one in found if one.effect is not None]
    sides = {
        verdict: [
            f"{changed(one)} ({e.difference:+.4f})" for one, e in effects if e.verdict == verdict
        ]
        for verdict in ("worse", "better")
    }
    told = [f"{verdict} with {', '.join(changes)}" for verdict, changes in sides.items() if changes]
    same = sum(e.verdict not in sides for _, e in effects)
    if same:
        told.append(f"{same} of {len(effects)} changes cannot be told apart from it")
    widest = max((e.high - e.low) / 2 for _, e in effects)
    return (
        f"**Ablation.** The winner with one change at a time, {metric} under the same seeds: "
        f"{'; '.join(told)} (Dunnett's intervals, 95 % for all changes at once, at most "
        f"± {widest:.4f}; on the images on which the winner was chosen, which favours it)."
    )


def changed(one: Ablated) -> str:
    """A change, in words."""
    others = f" (with {one.others})" if one.others else ""
    return f"{one.hyperparameter} {one.before} → {one.after}{others}"


def _importances(found: Importances, metric: str) -> str:
    stopped = f"; {found.censored} others had not come so far" if found.censored else ""
    associated = [one for one in found.associations if one.p_value < 0.05]
    others = [one.hyperparameter for one in found.associations if one.p_value >= 0.05]
    parts = [
        "**Associated with being among the best tenth** of the search's trials, by "
        f"{metric} at epoch {found.epoch} ({found.trials} trials{stopped}): "
        f"{'; '.join(map(_association, associated)) or 'nothing that can be told from chance'}."
    ]
    if associated and others:
        parts.append(f"Not told from chance: {', '.join(others)}.")
    parts.append(
        "Trials differ in several things at a time, and searcher and scheduler chose among them: "
        f"this is association, and says nothing of causes ({found.method}; Holm's correction)."
    )
    return " ".join(parts)


def _association(one: Association) -> str:
    return (
        f"{one.hyperparameter} ({100 * one.share:.0f} % of the importance, p = {one.p_value:.2g}; "
        f"among the best {one.best}, among all {one.all})"
    )


def _sentence(text: str) -> str:
    text = text.rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."
