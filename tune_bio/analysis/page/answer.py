"""What was asked, and the answer in three sentences."""

import statistics
from typing import Any

import pandas as pd

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.analysis.summary.conclusions_text import difference
from tune_bio.analysis.tables.trial_table import configuration, format_estimate
from tune_bio.common.labels import format_utc, metric_name, pluralize


def question(manifest: dict[str, Any]) -> str:
    """As the search space's docstring puts it; the study's name where it does not."""
    return str(manifest.get("question") or manifest["name"])


def answer(study: StudyRecords, conclusions: Conclusions) -> list[str]:
    """Three sentences, in the summary's Markdown: what is best, on the test set, how sure."""
    if study.ranking.empty:
        return _nothing(study)
    return [_best(study), _tested(study), _sure(study, conclusions)]


def _nothing(study: StudyRecords) -> list[str]:
    counts = study.trials["status"].value_counts()
    told = ", ".join(f"{n} {str(status).replace('_', ' ')}" for status, n in counts.items())
    wait = "Look again when the first epochs are done." if not study.ended else ""
    why = "Why trials failed is told below." if counts.get("failed", 0) else wait
    return [
        "There is no answer: no trial has a score.",
        f"Trials on record: {told or 'none'}.",
        *filter(None, [why]),
    ]


def _best(study: StudyRecords) -> str:
    named = metric_name(study.metric)
    tried = f"Of {len(study.trials)} configurations"
    if study.confirmed:
        first = study.confirmed[0]
        scores = list(first["scores"].values())
        spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
        row = study.trial(first["trial"])
        return (
            f"{tried}, **{configuration(study, row)}** ({first['trial']}) is best, with a {named} "
            f"of **{first['mean']:.3f}**{spread} over {pluralize(len(scores), 'seed')}."
        )
    row = study.ranking.iloc[0]
    so_far = "" if study.ended else " so far"
    return (
        f"{tried}, **{configuration(study, row)}** ({row['trial_id']}) is best{so_far}, with a "
        f"{named} of **{row['score']:.3f}** at epoch {row['best_epoch']:.0f}."
    )


def _tested(study: StudyRecords) -> str:
    opened = study.manifest["test_set_opened"]
    if not opened:
        return "The test set has not been opened."
    if not study.confirmed:
        when = format_utc(opened[-1]["when"])
        return f"The test set was opened on {when}; nothing is confirmed now."
    row = study.trial(study.confirmed[0]["median"])
    told = [
        f"{article} of **{_bold_value(format_estimate(row, column))}"
        for column, article in (("test_auroc", "an AUROC"), ("test_accuracy", "an accuracy"))
        if pd.notna(row[column])
    ]
    if not told:
        return "The test set was opened, and could not be evaluated."
    times = len(opened) + len(study.manifest["test_set_opened_before"])
    once = "opened once, at the end" if times == 1 else f"opened {times} times"
    return f"On the test set, {once}, its middle replicate has {' and '.join(told)}."


def _bold_value(told: str) -> str:
    """The end of a bold value, and its interval behind it."""
    value, space, interval = told.partition(" ")
    return f"{value}**{space}{interval}"


def _sure(study: StudyRecords, conclusions: Conclusions) -> str:
    if conclusions.effects:
        told = "; ".join(f"{one.hyperparameter} {one.verdict}" for one in conclusions.effects)
        wholes = [one.hyperparameter for one in conclusions.effects] == ["configuration"]
        return f"{'Compared as wholes' if wholes else 'Of the hyperparameters'}: {told}."
    if conclusions.versus:
        one = conclusions.versus[0]
        verdict = "It differs from" if one.p_value < 0.05 else "It cannot be told from"
        return (
            f"{verdict} the next best configuration on the test set: a difference of "
            f"{difference(one.comparison, one.p_value)}."
        )
    if study.whole and conclusions.noise is not None:
        return (
            "When nothing but the seed is another, scores have a standard deviation of "
            f"{conclusions.noise.sd:.3f}: differences of that size may be noise."
        )
    if conclusions.selection is not None:
        found_score = conclusions.selection
        return (
            f"The best of many has been lucky: corrected for having been chosen, it has "
            f"{found_score.value:.3f} ({found_score.low:.3f} to {found_score.high:.3f})."
        )
    return "Differences between the first few configurations may be noise."
