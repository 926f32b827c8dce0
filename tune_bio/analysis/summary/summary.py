"""summary.md: the results of a study in words and tables."""

from pathlib import Path
from typing import Any

import pandas as pd

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.analysis.summary.ablation_table import ablation_table
from tune_bio.analysis.summary.conclusions_text import conclusions_text
from tune_bio.analysis.summary.confirmation_table import confirmation_table
from tune_bio.analysis.summary.markdown_table import markdown_table, on_one_line
from tune_bio.analysis.summary.methods_section import methods_section
from tune_bio.analysis.tables.trial_table import (
    RANKED,
    by_configuration,
    configuration,
    drop_empty_columns,
    format_estimate,
    report_table,
)
from tune_bio.common.files import write_text
from tune_bio.common.labels import metric_name, pluralize

LISTED = 10  # best trials


def write_summary(study: StudyRecords, conclusions: Conclusions, folder: Path) -> None:
    """Write summary.md into a study's folder."""
    write_text(folder / "summary.md", "\n\n".join(summary_parts(study, conclusions)) + "\n")


def summary_parts(study: StudyRecords, conclusions: Conclusions) -> list[str]:
    """Return the parts of the summary in Markdown; report.html shows its sections too."""
    manifest = study.manifest
    parts = [
        f"# {manifest['name']}",
        *_warnings(manifest),
        _outcome(study),
        confirmation_table(study, conclusions),
        _conclusions(study, conclusions),
        ablation_table(study, conclusions),
        _controls(study),
        _ranking(study),
        _failures(study),
        "## Data",
        _data(manifest),
        _audit(manifest),
        _left_out(manifest),
        "## Methods",
        *methods_section(study),
        "## How to read this report",
        _reading(study),
    ]
    return [part for part in parts if part]


def _warnings(manifest: dict[str, Any]) -> list[str]:
    data = manifest["data"]
    flags = [f"> **Flag.** {flag['message']}" for flag in manifest.get("flags", [])]
    return [*(f"> **Note.** {note}" for note in data["notes"]), *flags]


def _outcome(study: StudyRecords) -> str:
    counts = study.trials["status"].value_counts()
    statuses = ", ".join(
        f"{count} {str(status).replace('_', ' ')}" for status, count in counts.items()
    )
    text = f"{pluralize(len(study.trials), 'trial')}{f' ({statuses})' if statuses else ''}"
    text += f" in {study.manifest['seconds']:.0f} s."
    if not study.ended:
        text = f"The study has not ended; this summary covers the records so far. {text}"
    if study.ranking.empty:
        return text + " No trial has a score."
    exported = study.manifest["best_trial"]
    if exported is None and study.ended:
        return text + " The study was stopped before a model could be saved."
    best = study.ranking.iloc[0] if exported is None else study.trial(exported)
    if exported is not None and study.confirmed:
        return (
            f"{text} The best configuration, by the mean validation score of its replicates, is "
            f"**{study.confirmed[0]['trial']}** ({configuration(study, best)}). `best/` contains "
            f"its median replicate, {best['trial_id']}, at epoch {best['best_epoch']:.0f}."
        )
    return (
        f"{text} The best trial is **{best['trial_id']}** ({configuration(study, best)}), with a "
        f"{metric_name(study.metric)} of **{best['score']:.4f}** at epoch "
        f"{best['best_epoch']:.0f} of {best['epochs_run']:.0f}. "
        + ("Its model is in `best/`." if exported else "No model has been saved yet.")
    )


def _ranking(study: StudyRecords) -> str:
    """Tabulate the best trials or, if every configuration was replicated, all configurations."""
    if study.ranking.empty:
        return ""
    if study.whole and study.confirmed:
        caption = "Values are means over seeds ± standard deviation."
        parts = ["## All configurations", markdown_table(by_configuration(study)), caption]
    else:
        best = study.ranking.head(LISTED)
        table = report_table(study)
        listed = table.set_index("name").loc[best["trial_id"]].reset_index(names="trial")
        if study.metric not in RANKED:
            at = list(listed.columns).index("hyperparameters") + 1
            listed.insert(
                at, metric_name(study.metric), [f"{score:.4f}" for score in best["score"]]
            )
        caption = "All trials are in `tables/trials.csv` and, as LaTeX, in `tables/trials.tex`."
        parts = [
            "## Best trials of the search",
            markdown_table(drop_empty_columns(listed)),
            caption,
        ]
    return "\n\n".join(parts)


def _conclusions(study: StudyRecords, conclusions: Conclusions) -> str:
    bullets = conclusions_text(conclusions, study.metric)
    return "\n".join(["## Conclusions", "", *bullets]) if bullets else ""


def _controls(study: StudyRecords) -> str:
    table = _predictors(study)
    if table.empty:
        return ""
    return "\n\n".join(["## Controls", markdown_table(table), _shuffled(study.manifest)])


def _predictors(study: StudyRecords) -> pd.DataFrame:
    """Tabulate the simple predictors, which know no anatomy; empty if there are none."""
    rows = []
    for control in study.manifest.get("controls", {}).get("predictors", []):
        row = {"control": control["name"]}
        for split, name in (("val", "validation"), ("test", "test")):
            row[f"{name} AUROC (95 % interval)"] = _control_auroc(study, control["name"], split)
        rows.append({**row, "input": control["looks_at"]})
    return pd.DataFrame(rows).replace("", pd.NA).dropna(axis=1, how="all")


def _control_auroc(study: StudyRecords, name: str, split: str) -> str:
    """Format a control's AUROC on a split with its interval; empty if it has none."""
    table = study.evaluations
    of_control = (table["trial"] == f"control:{name}") & (table["split"] == split)
    rows = table[of_control & (table["metric"] == "auroc")]
    if rows.empty:
        return ""
    row = rows.iloc[0].rename({"value": "auroc", "low": "auroc_low", "high": "auroc_high"})
    return format_estimate(row, "auroc")


def _shuffled(manifest: dict[str, Any]) -> str:
    """Report the result of training on shuffled labels."""
    shuffled = manifest.get("controls", {}).get("shuffled_labels")
    if shuffled is None:
        return "No model was trained on shuffled labels."
    p_values = " and ".join(f"{p:.3f}" for p in shuffled["p"])
    text = (
        "The best configuration of the search was also trained on labels shuffled between "
        f"patients and compared with chance on validation: p = {p_values} (labels permuted "
        "between validation patients, at the last epoch; flagged if p is below 0.01 twice)."
    )
    return str(shuffled["note"]) if not shuffled["p"] else f"{text} {shuffled['note']}".strip()


def _failures(study: StudyRecords) -> str:
    trials = pd.concat([study.trials, study.replicates])
    failed = trials[trials["status"].isin(["failed", "diverged"])]
    if failed.empty:
        return ""
    lines = [
        f"- {row['trial_id']} {row['status']}: {on_one_line(row['error'])}"
        for _, row in failed.iterrows()
    ]
    return "\n".join(["## Failed trials", "", *lines])


def _data(manifest: dict[str, Any]) -> str:
    data = manifest["data"]
    table = markdown_table(_splits(data))
    return f"Source: `{data['source']}`; splits: {data['split']}.\n\n{table}"


def _splits(data: dict[str, Any]) -> pd.DataFrame:
    """Tabulate the splits, one per row, from the manifest's entry of the data."""
    rows = []
    for name, split in data["splits"].items():
        counts = ", ".join(f"{count} {label}" for label, count in split["classes"].items())
        patients = split["patients"] if data["patients_known"] else "unknown"
        rows.append(
            {"split": name, "images": split["images"], "patients": patients, "classes": counts}
        )
    return pd.DataFrame(rows)


def _audit(manifest: dict[str, Any]) -> str:
    """List the findings of the audit before training, the most severe first."""
    findings = manifest["audit"]["findings"]
    if not findings:
        patients = "no patient in two splits" if manifest["data"]["patients_known"] else ""
        return (
            f"The audit found {', '.join(filter(None, ('no duplicates', patients)))} "
            "and no defects."
        )
    lines = [f"- {finding['severity']}: {finding['message']}" for finding in findings]
    return "\n".join(["The audit found:", "", *lines])


def _left_out(manifest: dict[str, Any]) -> str:
    lines = [f"- {entry}" for entry in manifest["left_out"]]
    return "\n".join(["## Omissions, with reasons", "", *lines]) if lines else ""


def _reading(study: StudyRecords) -> str:
    sentences = [f"Trials are ranked by {metric_name(study.metric)} at their best epoch."]
    if len(study.ranking) > 1:
        sentences.append(
            f"The score of the best of {len(study.ranking)} trials is optimistically biased, and "
            "differences between the top trials may be noise."
        )
    if study.confirmed:
        sentences.append("The results under fresh seeds are in the section *Confirmation*.")
    elif study.replicates.empty:
        sentences.append("Each configuration was trained under one seed.")
    if not study.manifest["test_set_opened"]:
        sealed = "The test set has not been opened: no trial, figure or table here has used it."
        sentences.append(sealed)
    return " ".join(sentences)
