"""The finalists' results under fresh seeds and on the test set, as a section of summary.md."""

import statistics

import pandas as pd

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.analysis.summary.conclusions_text import format_difference
from tune_bio.analysis.summary.markdown_table import markdown_table
from tune_bio.analysis.tables.trial_table import configuration, format_estimate
from tune_bio.common.labels import format_utc, metric_name, pluralize, short_name


def confirmation_table(study: StudyRecords, conclusions: Conclusions) -> str:
    """Write the section: one row per finalist, the comparisons, openings of the test set."""
    if not study.confirmed:
        openings = _openings(study)
        return "\n\n".join(["## Confirmation", *openings]) if openings else ""
    if study.whole:
        text = (
            "Every configuration was trained under the same number of seeds, so none was "
            "selected; the validation and test scores are in the section *All configurations*."
            f"{_lost(study)}"
        )
        return "\n\n".join(["## Confirmation", text, *_openings(study)])
    text = (
        "Each finalist was retrained to the end under fresh seeds. The test columns show its "
        "median replicate and played no part in selection: the order of the finalists, the "
        "exported replicate and its threshold were fixed before the test set was opened."
    )
    table, openings = markdown_table(_finalists(study)), _openings(study)
    parts = ["## Confirmation", table, text, *_comparisons(conclusions), *openings]
    return "\n\n".join(parts)


def _lost(study: StudyRecords) -> str:
    """Report the configurations of a grid that lack a replicate; empty if none does."""
    listed = study.trials["config_id"].nunique()
    lost = listed - len(study.confirmed)
    if not lost:
        return ""
    return f" Not confirmed, because a replicate failed or diverged: {lost} of {listed}."


def _finalists(study: StudyRecords) -> pd.DataFrame:
    """Tabulate the finalists: scores in the search, under fresh seeds and on the test set."""
    rows = []
    for finalist in study.confirmed:
        scores = list(finalist["scores"].values())
        spread = f" ± {statistics.stdev(scores):.4f}" if len(scores) > 1 else ""
        median = study.trial(finalist["median"])
        rows.append(
            {
                "configuration": finalist["trial"],
                f"{metric_name(study.metric)} in the search": study.trial(finalist["trial"])[
                    "score"
                ],
                f"mean ± SD ({pluralize(len(scores), 'seed')})": f"{finalist['mean']:.4f}{spread}",
                **_on_resplits(study, finalist["trial"]),
                "test AUROC (95 % interval)": format_estimate(median, "test_auroc"),
                "test accuracy (95 % interval)": format_estimate(median, "test_accuracy"),
                "test loss": median["test_loss"],
                "hyperparameters": configuration(study, median),
            }
        )
    return pd.DataFrame(rows)


def _on_resplits(study: StudyRecords, trial: str) -> dict[str, str]:
    """Return the column of a finalist's scores on re-splits; empty without re-splits."""
    if study.resplits is None:
        return {}
    column = f"mean ± SD ({len(study.resplits['splits'])} re-splits)"
    scores = next(
        list(finalist["scores"].values())
        for finalist in study.resplits["finalists"]
        if finalist["trial"] == trial
    )
    if len(scores) < 2:
        return {column: "-"}
    return {column: f"{statistics.fmean(scores):.4f} ± {statistics.stdev(scores):.4f}"}


def _comparisons(conclusions: Conclusions) -> list[str]:
    """Compare the winner with each other finalist, as trained models and as configurations."""
    if not (conclusions.versus and conclusions.settings):
        return []
    rows = [
        {
            "on the test set": f"{setting.winner} vs. {setting.other}",
            f"{short_name(model.comparison.metric)} difference, trained models": format_difference(
                model.comparison, model.p_value
            ),
            "difference, configurations": format_difference(setting.difference, setting.p_value),
        }
        for model, setting in zip(conclusions.versus, conclusions.settings, strict=True)
    ]
    text = (
        "The two differences answer different questions. *Trained models*: how the two median "
        "replicates compare on new patients. *Configurations*: how the means over replicates "
        "compare if both configurations are trained again under new seeds and evaluated on new "
        "patients; the interval covers both sources of variation."
    )
    return [markdown_table(pd.DataFrame(rows)), text]


def _openings(study: StudyRecords) -> list[str]:
    """Report when the test images were opened, by this study and by earlier ones."""
    sentences = [
        f"The test set was opened on {format_utc(opening['when'])}: {opening['images']} images, "
        f"SHA-256 `{opening['sha256'][:12]}`."
        for opening in study.manifest["test_set_opened"]
    ]
    return sentences + [
        f"> **Note.** The same test images had been opened by the study {opening['study']} "
        f"on {format_utc(opening['when'])}."
        for opening in study.manifest["test_set_opened_before"]
    ]
