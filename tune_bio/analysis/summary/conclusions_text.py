"""The conclusions of a study in words, for summary.md."""

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
    """Write each conclusion as a bullet of one or two sentences, followed by the notes."""
    metric, sentences = metric_name(metric), list[str]()
    if conclusions.selection is not None:
        sentences.append(_selection(conclusions.selection, metric))
    if conclusions.noise is not None:
        sentences.append(_noise(conclusions.noise, metric))
    if conclusions.noise_of_splits is not None:
        sentences.append(_noise_of_splits(conclusions.noise_of_splits, conclusions.noise, metric))
    sentences += [_model_comparison(comparison) for comparison in conclusions.versus]
    sentences += [_configuration_comparison(comparison) for comparison in conclusions.settings]
    sentences += [_effect(effect, metric, conclusions.effects_at) for effect in conclusions.effects]
    if conclusions.importances is not None:
        sentences.append(_importances(conclusions.importances, metric))
    if any(change.effect for change in conclusions.ablated):
        sentences.append(_ablation(conclusions.ablated, metric))
    return [f"- {sentence}" for sentence in (*sentences, *conclusions.notes)]


def _selection(selection: Selection, metric: str) -> str:
    return (
        f"**Selection.** The best {metric} of the search is {selection.score:.4f}; corrected for "
        f"selection bias it is {selection.value:.4f} ({selection.low:.4f} to "
        f"{selection.high:.4f}), an optimism of {selection.optimism:+.4f} ({selection.method})."
    )


def _noise(noise: NoiseFloor, metric: str) -> str:
    note = f" {_sentence(noise.note)}" if noise.note else ""
    return (
        f"**Noise floor.** Across seeds, {metric} has a standard deviation of {noise.sd:.4f} "
        f"(at most {noise.upper:.4f} with 95 % confidence; {noise.degrees_of_freedom} degrees of "
        f"freedom).{note}"
    )


def _noise_of_splits(noise: NoiseFloor, seeds: NoiseFloor | None, metric: str) -> str:
    of_seeds = f", compared with {seeds.sd:.4f} across seeds only" if seeds else ""
    note = f" {_sentence(noise.note)}" if noise.note else ""
    return (
        f"**Noise floor with re-splits.** When patients are newly assigned to training and "
        f"validation, under fresh seeds, {metric} has a standard deviation of "
        f"{noise.sd:.4f}{of_seeds} (at most {noise.upper:.4f} with 95 % confidence; "
        f"{noise.degrees_of_freedom} degrees of freedom). This is how much a score depends on the "
        f"choice of training and validation patients.{note}"
    )


def format_difference(comparison: Comparison | DifferenceOverSeeds, p_value: float) -> str:
    """Format as "+0.008 (-0.011 to +0.027), p = 0.39"; undefined limits are left out."""
    limits = (
        "" if math.isnan(comparison.low) else f" ({comparison.low:+.3f} to {comparison.high:+.3f})"
    )
    p = "no p-value" if math.isnan(p_value) else f"p = {p_value:.2g}"
    return f"{comparison.difference:+.3f}{limits}, {p}"


def _model_comparison(models: ModelComparison) -> str:
    comparison = models.comparison
    verdict = "differ" if models.p_value < 0.05 else "cannot be distinguished"
    return (
        f"**As trained models, {models.winner} and {models.other} {verdict} on the test set** "
        f"(inference to new patients): {short_name(comparison.metric)} {comparison.a:.3f} and "
        f"{comparison.b:.3f}, a difference of {format_difference(comparison, models.p_value)} "
        f"after Holm's correction ({comparison.method})."
    )


def _configuration_comparison(configurations: ConfigurationComparison) -> str:
    difference = configurations.difference
    verdict = "differ" if configurations.p_value < 0.05 else "cannot be distinguished"
    return (
        f"**As configurations, {configurations.winner} and {configurations.other} {verdict} on "
        f"the test set** (inference to new seeds and new patients): mean "
        f"{short_name(difference.metric)} over replicates {configurations.mean.value:.3f} and "
        f"{configurations.mean_of_other.value:.3f}, a difference of "
        f"{format_difference(difference, configurations.p_value)} after Holm's correction "
        f"({difference.method}; {difference.note})."
    )


def _effect(effect: Effect, metric: str, at: str) -> str:
    seeds = "more than 10,000" if effect.seeds_needed is None else str(effect.seeds_needed)
    separator = "; " if any(", " in level for level in effect.means) else ", "
    means = separator.join(f"{level}: {mean:.4f}" for level, mean in effect.means.items())
    return (
        f"**{effect.hyperparameter} {effect.verdict}**: mean {metric} at the {at} by level "
        f"({means}); p = {effect.p_value:.2g} after Holm's correction. Smallest difference that "
        f"80 % of such grids would detect: {effect.detectable:.4f}; seeds needed to detect "
        f"{effect.format_difference(effect.margin)}: {seeds}."
    )


def _ablation(changes: Sequence[Ablated], metric: str) -> str:
    """Name the changes that differ from the winner; the table lists all of them."""
    effects = [(change, change.effect) for change in changes if change.effect is not None]
    sides = {
        verdict: [
            f"{describe_change(change)} ({effect.difference:+.4f})"
            for change, effect in effects
            if effect.verdict == verdict
        ]
        for verdict in ("worse", "better")
    }
    parts = [f"{verdict} with {', '.join(names)}" for verdict, names in sides.items() if names]
    same = sum(effect.verdict not in sides for _, effect in effects)
    if same:
        parts.append(f"{same} of {len(effects)} changes cannot be distinguished from the winner")
    widest = max((effect.high - effect.low) / 2 for _, effect in effects)
    return (
        f"**Ablation.** One change to the winner at a time, compared by {metric} under the same "
        f"seeds: {'; '.join(parts)} (Dunnett's simultaneous 95 % intervals, at most ± "
        f"{widest:.4f}; on the images on which the winner was selected, which favours it)."
    )


def describe_change(change: Ablated) -> str:
    """Describe a change as "lr 0.1 → 0.3 (with ...)"."""
    others = f" (with {change.others})" if change.others else ""
    return f"{change.hyperparameter} {change.before} → {change.after}{others}"


def _importances(importances: Importances, metric: str) -> str:
    censored = f"; {importances.censored} others did not reach it" if importances.censored else ""
    associated = [
        association for association in importances.associations if association.p_value < 0.05
    ]
    others = [
        association.hyperparameter
        for association in importances.associations
        if association.p_value >= 0.05
    ]
    parts = [
        "**Associated with the best tenth** of the trials of the search, by "
        f"{metric} at epoch {importances.epoch} ({importances.trials} trials{censored}): "
        f"{'; '.join(map(_association, associated)) or 'nothing beyond chance'}."
    ]
    if associated and others:
        parts.append(f"Not distinguishable from chance: {', '.join(others)}.")
    parts.append(
        "Trials differ in several hyperparameters at once, and the searcher and the scheduler "
        "selected them, so these are associations, not causal effects "
        f"({importances.method}; Holm's correction)."
    )
    return " ".join(parts)


def _association(association: Association) -> str:
    return (
        f"{association.hyperparameter} ({100 * association.share:.0f} % of the importance, "
        f"p = {association.p_value:.2g}; among the best: {association.best}; among all: "
        f"{association.all})"
    )


def _sentence(text: str) -> str:
    """Capitalize a text and end it with a full stop."""
    text = text.rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."
