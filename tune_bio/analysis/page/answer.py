"""The question of a study, and its answer in three sentences."""

import statistics
from typing import Any

import pandas as pd

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.analysis.summary.conclusions_text import format_difference
from tune_bio.analysis.tables.trial_table import configuration, format_estimate
from tune_bio.common.labels import format_utc, metric_name, pluralize


def question(manifest: dict[str, Any]) -> str:
    """Return the question in the search space's docstring, or else the study's name."""
    return str(manifest.get("question") or manifest["name"])


def answer(study: StudyRecords, conclusions: Conclusions) -> list[str]:
    """Return three sentences in Markdown: the best configuration, its test score, certainty."""
    if study.ranking.empty:
        return _no_answer(study)
    return [_best_configuration(study), _test_score(study), _certainty(study, conclusions)]


def _no_answer(study: StudyRecords) -> list[str]:
    counts = study.trials["status"].value_counts()
    statuses = ", ".join(f"{n} {str(status).replace('_', ' ')}" for status, n in counts.items())
    wait = "Generate this page again after the first epochs." if not study.ended else ""
    reason = "The reasons for failure are listed below." if counts.get("failed", 0) else wait
    return [
        "There is no answer: no trial has a score.",
        f"Trials on record: {statuses or 'none'}.",
        *filter(None, [reason]),
    ]


def _best_configuration(study: StudyRecords) -> str:
    metric = metric_name(study.metric)
    tried = f"Of {len(study.trials)} configurations"
    if study.confirmed:
        first = study.confirmed[0]
        scores = list(first["scores"].values())
        spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
        row = study.trial(first["trial"])
        return (
            f"{tried}, **{configuration(study, row)}** ({first['trial']}) is best, with a {metric} "
            f"of **{first['mean']:.3f}**{spread} over {pluralize(len(scores), 'seed')}."
        )
    row = study.ranking.iloc[0]
    so_far = "" if study.ended else " so far"
    return (
        f"{tried}, **{configuration(study, row)}** ({row['trial_id']}) is best{so_far}, with a "
        f"{metric} of **{row['score']:.3f}** at epoch {row['best_epoch']:.0f}."
    )


def _test_score(study: StudyRecords) -> str:
    opened = study.manifest["test_set_opened"]
    if not opened:
        return "The test set has not been opened."
    if not study.confirmed:
        when = format_utc(opened[-1]["when"])
        return f"The test set was opened on {when}; no configuration is currently confirmed."
    row = study.trial(study.confirmed[0]["median"])
    scores = [
        f"{article} of **{_bold_value(format_estimate(row, column))}"
        for column, article in (("test_auroc", "an AUROC"), ("test_accuracy", "an accuracy"))
        if pd.notna(row[column])
    ]
    if not scores:
        return "The test set was opened but could not be evaluated."
    times = len(opened) + len(study.manifest["test_set_opened_before"])
    once = "opened once, at the end" if times == 1 else f"opened {times} times"
    return f"On the test set, {once}, its median replicate has {' and '.join(scores)}."


def _bold_value(estimate: str) -> str:
    """End the bold type of an estimate after its value, before its interval."""
    value, space, interval = estimate.partition(" ")
    return f"{value}**{space}{interval}"


def _certainty(study: StudyRecords, conclusions: Conclusions) -> str:
    if conclusions.effects:
        verdicts = "; ".join(
            f"{effect.hyperparameter} {effect.verdict}" for effect in conclusions.effects
        )
        wholes = [effect.hyperparameter for effect in conclusions.effects] == ["configuration"]
        return f"{'Compared as wholes' if wholes else 'By hyperparameter'}: {verdicts}."
    if conclusions.versus:
        models = conclusions.versus[0]
        verdict = "It differs from" if models.p_value < 0.05 else "It cannot be distinguished from"
        return (
            f"{verdict} the next best configuration on the test set: a difference of "
            f"{format_difference(models.comparison, models.p_value)}."
        )
    if study.whole and conclusions.noise is not None:
        return (
            "Across seeds, the scores of a configuration have a standard deviation of "
            f"{conclusions.noise.sd:.3f}; differences of that size may be noise."
        )
    if conclusions.selection is not None:
        selection = conclusions.selection
        return (
            f"Its score is the best of many and therefore optimistic; corrected for selection bias "
            f"it is {selection.value:.3f} ({selection.low:.3f} to {selection.high:.3f})."
        )
    return "Differences between the top configurations may be noise."
