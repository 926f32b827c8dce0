"""The finalists under fresh seeds and on the test set, as a section of summary.md."""

import statistics

import pandas as pd

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.analysis.summary.conclusions_text import difference
from tune_bio.analysis.summary.markdown_table import markdown_table
from tune_bio.analysis.tables.trial_table import configuration, format_estimate
from tune_bio.common.labels import format_utc, metric_name, pluralize, short_name


def confirmation_table(study: StudyRecords, conclusions: Conclusions) -> str:
    """A finalist a row, what the comparisons say, and when the test set was opened."""
    if not study.confirmed:
        openings = _openings(study)
        return "\n\n".join(["## Confirmation", *openings]) if openings else ""
    if study.whole:
        told = (
            "Every configuration was trained under as many seeds, so none was selected; their "
            f"scores on validation and test are under *Every configuration*.{_lost(study)}"
        )
        return "\n\n".join(["## Confirmation", told, *_openings(study)])
    told = (
        "Each finalist was trained again under fresh seeds, to the end. Test columns are those of "
        "its replicate in the middle; they have chosen nothing: the order, the exported replicate "
        "and its threshold were fixed before the test set was opened."
    )
    table, openings = markdown_table(_finalists(study)), _openings(study)
    parts = ["## Confirmation", table, told, *_two_questions(conclusions), *openings]
    return "\n\n".join(parts)


def _lost(study: StudyRecords) -> str:
    """What is missing of a grid that was to be replicated whole."""
    listed = study.trials["config_id"].nunique()
    lost = listed - len(study.confirmed)
    if not lost:
        return ""
    return f" Of {lost} of the {listed} a replicate failed or diverged: they are not confirmed."


def _finalists(study: StudyRecords) -> pd.DataFrame:
    """A finalist a row: the search's score, that of fresh seeds, and the test set's."""
    rows = []
    for one in study.confirmed:
        scores = list(one["scores"].values())
        spread = f" ± {statistics.stdev(scores):.4f}" if len(scores) > 1 else ""
        middle = study.trial(one["median"])
        rows.append(
            {
                "configuration": one["trial"],
                f"{metric_name(study.metric)} in the search": study.trial(one["trial"])["score"],
                f"of {pluralize(len(scores), 'seed')}, mean ± SD": f"{one['mean']:.4f}{spread}",
                **_on_resplits(study, one["trial"]),
                "test AUROC (95 % interval)": format_estimate(middle, "test_auroc"),
                "test accuracy (95 % interval)": format_estimate(middle, "test_accuracy"),
                "test loss": middle["test_loss"],
                "hyperparameters": configuration(study, middle),
            }
        )
    return pd.DataFrame(rows)


def _on_resplits(study: StudyRecords, trial: str) -> dict[str, str]:
    """A finalist's scores on new splits, where there are any."""
    if study.resplits is None:
        return {}
    column = f"of {len(study.resplits['splits'])} re-splits, mean ± SD"
    scores = next(
        list(one["scores"].values()) for one in study.resplits["finalists"] if one["trial"] == trial
    )
    if len(scores) < 2:
        return {column: "-"}
    return {column: f"{statistics.fmean(scores):.4f} ± {statistics.stdev(scores):.4f}"}


def _two_questions(conclusions: Conclusions) -> list[str]:
    """Is this model better, and is this setting better? Each other finalist a row."""
    if not (conclusions.versus and conclusions.settings):
        return []
    rows = [
        {
            "on the test set": f"{setting.winner} against {setting.other}",
            f"{short_name(model.comparison.metric)}: is this model better?": difference(
                model.comparison, model.p_value
            ),
            "is this setting better?": difference(setting.difference, setting.p_value),
        }
        for model, setting in zip(conclusions.versus, conclusions.settings, strict=True)
    ]
    told = (
        "These are two questions. *This model*: the two replicates in the middle as they are, on "
        "other patients. *This setting*: the means over all replicates, were both trained again "
        "under other seeds, on other patients; its interval has both in it."
    )
    return [markdown_table(pd.DataFrame(rows)), told]


def _openings(study: StudyRecords) -> list[str]:
    """When the test images were opened, by this study and by others."""
    told = [
        f"The test set was opened on {format_utc(one['when'])}: {one['images']} images, SHA-256 "
        f"`{one['sha256'][:12]}`."
        for one in study.manifest["test_set_opened"]
    ]
    return told + [
        f"> **Note.** The same test images had been opened by the study {one['study']}, "
        f"on {format_utc(one['when'])}."
        for one in study.manifest["test_set_opened_before"]
    ]
