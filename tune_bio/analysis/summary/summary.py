"""summary.md: what the study found, in words and one table."""

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
    fill_nulls,
    format_estimate,
    reports_table,
)
from tune_bio.common.files import write_text
from tune_bio.common.labels import metric_name, pluralize

LISTED = 10


def write_summary(study: StudyRecords, conclusions: Conclusions, folder: Path) -> None:
    """Write summary.md of a study."""
    write_text(folder / "summary.md", "\n\n".join(summary_parts(study, conclusions)) + "\n")


def summary_parts(study: StudyRecords, conclusions: Conclusions) -> list[str]:
    """The summary in Markdown, part by part; report.html shows its sections too."""
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
        "## Methods, as far as they are known here",
        *methods_section(study),
        "## How to read this",
        _reading(study),
    ]
    return [part for part in parts if part]


def _warnings(manifest: dict[str, Any]) -> list[str]:
    data = manifest["data"]
    flags = [f"> **Flag.** {flag['message']}" for flag in manifest.get("flags", [])]
    return [*(f"> **Note.** {note}" for note in data["notes"]), *flags]


def _outcome(study: StudyRecords) -> str:
    counts = study.trials["status"].value_counts()
    told = ", ".join(f"{count} {str(status).replace('_', ' ')}" for status, count in counts.items())
    text = f"{pluralize(len(study.trials), 'trial')}{f' ({told})' if told else ''}"
    text += f" in {study.manifest['seconds']:.0f} s."
    if not study.ended:
        text = f"The study has not ended: this is what is on record. {text}"
    if study.ranking.empty:
        return text + " No trial has a score."
    exported = study.manifest["best_trial"]
    if exported is None and study.ended:
        return text + " It was stopped before any model could be saved."
    best = study.ranking.iloc[0] if exported is None else study.trial(exported)
    if exported is not None and study.confirmed:
        return (
            f"{text} The best configuration, by the mean of its replicates on validation, is that "
            f"of **{study.confirmed[0]['trial']}** ({configuration(study, best)}). `best/` holds "
            f"its replicate in the middle, {best['trial_id']}, at epoch {best['best_epoch']:.0f}."
        )
    return (
        f"{text} The best is **{best['trial_id']}** ({configuration(study, best)}), with "
        f"{metric_name(study.metric)} **{best['score']:.4f}** at epoch {best['best_epoch']:.0f} of "
        f"{best['epochs_run']:.0f}. "
        + ("Its model is in `best/`." if exported else "No model is saved yet.")
    )


def _ranking(study: StudyRecords) -> str:
    """The columns of a report, of the best trials; of a grid replicated whole, of all its cells."""
    if study.ranking.empty:
        return ""
    if study.whole and study.confirmed:
        told = "Means over seeds, ± their standard deviation."
        parts = ["## Every configuration", markdown_table(by_configuration(study)), told]
    else:
        best = study.ranking.head(LISTED)
        table = reports_table(study)
        listed = table.set_index("name").loc[best["trial_id"]].reset_index(names="trial")
        if study.metric not in RANKED:
            at = list(listed.columns).index("hyperparameters") + 1
            listed.insert(
                at, metric_name(study.metric), [f"{score:.4f}" for score in best["score"]]
            )
        told = "All trials are in `tables/trials.csv`, and as LaTeX in `tables/trials.tex`."
        parts = ["## Best trials of the search", markdown_table(fill_nulls(listed)), told]
    return "\n\n".join(parts)


def _conclusions(study: StudyRecords, conclusions: Conclusions) -> str:
    told = conclusions_text(conclusions, study.metric)
    return "\n".join(["## What can be said", "", *told]) if told else ""


def _controls(study: StudyRecords) -> str:
    table = _predictors(study)
    if table.empty:
        return ""
    return "\n\n".join(["## Controls", markdown_table(table), _shuffled(study.manifest)])


def _predictors(study: StudyRecords) -> pd.DataFrame:
    """What predictors that know no anatomy reach; empty where there are none."""
    rows = []
    for control in study.manifest.get("controls", {}).get("predictors", []):
        row = {"control": control["name"]}
        for split, name in (("val", "validation"), ("test", "test")):
            row[f"{name} AUROC (95 % interval)"] = _of_control(study, control["name"], split)
        rows.append({**row, "it looks at": control["looks_at"]})
    return pd.DataFrame(rows).replace("", pd.NA).dropna(axis=1, how="all")


def _of_control(study: StudyRecords, name: str, split: str) -> str:
    found = study.evaluations
    wanted = (found["trial"] == f"control:{name}") & (found["split"] == split)
    of_auroc = found[wanted & (found["metric"] == "auroc")]
    if of_auroc.empty:
        return ""
    row = of_auroc.iloc[0].rename({"value": "auroc", "low": "auroc_low", "high": "auroc_high"})
    return format_estimate(row, "auroc")


def _shuffled(manifest: dict[str, Any]) -> str:
    """What a model that was trained on nothing reaches."""
    shuffled = manifest.get("controls", {}).get("shuffled_labels")
    if shuffled is None:
        return "No training on shuffled labels was made."
    told = " and ".join(f"{p:.3f}" for p in shuffled["p"])
    text = (
        "Trained on labels shuffled between patients, the search's best configuration is above "
        f"chance on validation with p = {told} (re-permutation over validation patients, at its "
        "last epoch; flagged where p is below 0.01 twice)."
    )
    return str(shuffled["note"]) if not shuffled["p"] else f"{text} {shuffled['note']}".strip()


def _failures(study: StudyRecords) -> str:
    both = pd.concat([study.trials, study.replicates])
    failed = both[both["status"].isin(["failed", "diverged"])]
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
    """A split a row, from the manifest's entry of the data: images, patients, classes."""
    rows = []
    for name, split in data["splits"].items():
        counts = ", ".join(f"{count} {label}" for label, count in split["classes"].items())
        patients = split["patients"] if data["patients_known"] else "unknown"
        rows.append(
            {"split": name, "images": split["images"], "patients": patients, "classes": counts}
        )
    return pd.DataFrame(rows)


def _audit(manifest: dict[str, Any]) -> str:
    """What the audit found before anything was trained, the worst first."""
    findings = manifest["audit"]["findings"]
    if not findings:
        patients = "no patients in two splits" if manifest["data"]["patients_known"] else ""
        return f"The audit found {', '.join(filter(None, ('no copies', patients)))} and no defects."
    lines = [f"- {finding['severity']}: {finding['message']}" for finding in findings]
    return "\n".join(["The audit found:", "", *lines])


def _left_out(manifest: dict[str, Any]) -> str:
    lines = [f"- {entry}" for entry in manifest["left_out"]]
    return "\n".join(["## Left out, and why", "", *lines]) if lines else ""


def _reading(study: StudyRecords) -> str:
    told = [f"Trials are ranked by {metric_name(study.metric)} at their best epoch."]
    if len(study.ranking) > 1:
        told.append(
            f"The best of {len(study.ranking)} trials has been lucky too: its score is an "
            "optimistic estimate, and differences between the first few may be noise."
        )
    if study.confirmed:
        told.append("What fresh seeds came to is under *Confirmation*.")
    elif study.replicates.empty:
        told.append("One seed was run for each configuration.")
    if not study.manifest["test_set_opened"]:
        sealed = "The test split has not been opened: no trial, figure or table here has seen it."
        told.append(sealed)
    return " ".join(told)
