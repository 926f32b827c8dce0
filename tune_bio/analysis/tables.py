"""summary.md: what the study found, in words and one table."""

import statistics
from pathlib import Path
from typing import Any

import pandas as pd

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.methods import methods
from tune_bio.analysis.report_table import (
    RANKED,
    by_configuration,
    filled,
    hyperparameters_of,
    interval,
    reports_table,
)
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.analysis.wording import in_words
from tune_bio.files import write_text

LISTED = 10


def write_summary(study: StudyRecords, conclusions: Conclusions, folder: Path) -> None:
    """Write summary.md of a study."""
    manifest = study.manifest
    parts = [
        f"# {manifest['name']}",
        *_warnings(manifest),
        _outcome(study),
        _confirmation(study),
        _conclusions(study, conclusions),
        _controls(study),
        _ranking(study),
        _failures(study),
        "## Data",
        _data(manifest),
        _audit(manifest),
        _left_out(manifest),
        "## Methods, as far as they are known here",
        *methods(study),
        "## How to read this",
        _reading(study),
    ]
    write_text(folder / "summary.md", "\n\n".join(part for part in parts if part) + "\n")


def _warnings(manifest: dict[str, Any]) -> list[str]:
    data = manifest["data"]
    flags = [f"> **Flag.** {flag['message']}" for flag in manifest.get("flags", [])]
    return [*(f"> **Note.** {note}" for note in data["notes"]), *flags]


def _outcome(study: StudyRecords) -> str:
    counts = study.trials["status"].value_counts()
    told = ", ".join(f"{count} {str(status).replace('_', ' ')}" for status, count in counts.items())
    text = f"{len(study.trials)} trials ({told}) in {study.manifest['seconds']:.0f} s."
    if study.ranking.empty:
        return text + " No trial has a score."
    exported = study.manifest["best_trial"]
    if exported is None:
        return text + " It was stopped before any model could be saved."
    best = study.trial(exported)
    if study.confirmed:
        return (
            f"{text} The best configuration, by the mean of its replicates on validation, is that "
            f"of **{study.confirmed[0]['trial']}** ({_params(study, best)}). `best/` holds its "
            f"replicate in the middle, {best['trial_id']}, at epoch {best['best_epoch']:.0f}."
        )
    return (
        f"{text} The best is **{best['trial_id']}** ({_params(study, best)}), with {study.metric} "
        f"**{best['score']:.4f}** at epoch {best['best_epoch']:.0f} of {best['epochs_run']:.0f}. "
        "Its model is in `best/`."
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
            listed.insert(at, study.metric, [f"{score:.4f}" for score in best["score"]])
        told = "All trials are in `tables/trials.csv`, and as LaTeX in `tables/trials.tex`."
        parts = ["## Best trials of the search", markdown_table(filled(listed)), told]
    return "\n\n".join(parts)


def _confirmation(study: StudyRecords) -> str:
    """A finalist a row: the search's score, that of fresh seeds, and the test set's."""
    if not study.confirmed:
        return ""
    if study.whole:
        told = (
            "Every configuration was trained under as many seeds, so none was selected; their "
            "scores on validation and test are under *Every configuration*."
        )
        return "\n\n".join(["## Confirmation", told, *_openings(study)])
    rows = []
    for one in study.confirmed:
        scores = list(one["scores"].values())
        spread = f" ± {statistics.stdev(scores):.4f}" if len(scores) > 1 else ""
        middle = study.trial(one["median"])
        rows.append(
            {
                "configuration": one["trial"],
                f"{study.metric} in the search": study.trial(one["trial"])["score"],
                f"of {len(scores)} seeds, mean ± SD": f"{one['mean']:.4f}{spread}",
                "test AUROC (95 % interval)": _interval(middle, "test_auroc"),
                "test accuracy (95 % interval)": _interval(middle, "test_accuracy"),
                "test loss": middle["test_loss"],
                "hyperparameters": _params(study, middle),
            }
        )
    told = (
        "Each finalist was trained again under fresh seeds, to the end. Test columns are those of "
        "its replicate in the middle; they have chosen nothing: the order, the exported replicate "
        "and its threshold were fixed before the test set was opened."
    )
    parts = ["## Confirmation", markdown_table(pd.DataFrame(rows)), told, *_openings(study)]
    return "\n\n".join(parts)


def _conclusions(study: StudyRecords, conclusions: Conclusions) -> str:
    told = in_words(conclusions, study.metric)
    return "\n".join(["## What can be said", "", *told]) if told else ""


def _controls(study: StudyRecords) -> str:
    """What predictors that know no anatomy reach, and a model that was trained on nothing."""
    controls = study.manifest.get("controls", {})
    if not controls.get("predictors"):
        return ""
    rows = []
    for control in controls["predictors"]:
        row = {"control": control["name"]}
        for split, name in (("val", "validation"), ("test", "test")):
            row[f"{name} AUROC (95 % interval)"] = _of_control(study, control["name"], split)
        rows.append({**row, "it looks at": control["looks_at"]})
    table = pd.DataFrame(rows).replace("", pd.NA).dropna(axis=1, how="all")
    return "\n\n".join(["## Controls", markdown_table(table), _shuffled(controls)])


def _of_control(study: StudyRecords, name: str, split: str) -> str:
    found = study.evaluations
    wanted = (found["trial"] == f"control:{name}") & (found["split"] == split)
    of_auroc = found[wanted & (found["metric"] == "auroc")]
    if of_auroc.empty:
        return ""
    row = of_auroc.iloc[0].rename({"value": "auroc", "low": "auroc_low", "high": "auroc_high"})
    return _interval(row, "auroc")


def _shuffled(controls: dict[str, Any]) -> str:
    shuffled = controls.get("shuffled_labels")
    if shuffled is None:
        return "No training on shuffled labels was made."
    told = " and ".join(f"{p:.3f}" for p in shuffled["p"])
    text = (
        "Trained on labels shuffled between patients, the search's best configuration is above "
        f"chance on validation with p = {told} (re-permutation over validation patients, at its "
        "last epoch; flagged where p is below 0.01 twice)."
    )
    return shuffled["note"] if not shuffled["p"] else f"{text} {shuffled['note']}".strip()


def _openings(study: StudyRecords) -> list[str]:
    """When the test images were opened, by this study and by others."""
    told = [
        f"The test set was opened {one['when']}: {one['images']} images, SHA-256 "
        f"`{one['sha256'][:12]}`."
        for one in study.manifest["test_set_opened"]
    ]
    return told + [
        f"> **Note.** The same test images had been opened by the study {one['study']}, "
        f"{one['when']}."
        for one in study.manifest["test_set_opened_before"]
    ]


def _interval(row: pd.Series, metric: str) -> str:
    return interval(*(row[f"{metric}{end}"] for end in ("", "_low", "_high")))


def _failures(study: StudyRecords) -> str:
    both = pd.concat([study.trials, study.replicates])
    failed = both[both["status"].isin(["failed", "diverged"])]
    if failed.empty:
        return ""
    lines = [f"- {row['trial_id']} {row['status']}: {row['error']}" for _, row in failed.iterrows()]
    return "\n".join(["## Failed trials", "", *lines])


def _data(manifest: dict[str, Any]) -> str:
    data = manifest["data"]
    rows = []
    for name, split in data["splits"].items():
        counts = ", ".join(f"{count} {label}" for label, count in split["classes"].items())
        patients = split["patients"] if data["patients_known"] else "unknown"
        rows.append(
            {"split": name, "images": split["images"], "patients": patients, "classes": counts}
        )
    table = markdown_table(pd.DataFrame(rows))
    return f"Source: `{data['source']}`; splits: {data['split']}.\n\n{table}"


def _audit(manifest: dict[str, Any]) -> str:
    """What the audit found before anything was trained, the worst first."""
    findings = manifest["audit"]["findings"]
    if not findings:
        return "The audit found no copies, no patients in two splits and no defects."
    lines = [f"- {finding['severity']}: {finding['message']}" for finding in findings]
    return "\n".join(["The audit found:", "", *lines])


def _left_out(manifest: dict[str, Any]) -> str:
    lines = [f"- {entry}" for entry in manifest["left_out"]]
    return "\n".join(["## Left out, and why", "", *lines]) if lines else ""


def _reading(study: StudyRecords) -> str:
    told = (
        f"Trials are ranked by {study.metric} at their best epoch, on the validation split. The "
        f"best of {len(study.ranking)} trials has been lucky too: its score is an optimistic "
        "estimate, and differences between the first few may be noise. "
    )
    if study.confirmed:
        return told + "What fresh seeds came to is under *Confirmation*."
    return told + (
        "One seed was run for each configuration. The test split has not been opened: no trial, "
        "figure or table here has seen it."
    )


def _params(study: StudyRecords, row: pd.Series) -> str:
    return hyperparameters_of(study.params(row), study.searched)


def markdown_table(table: pd.DataFrame) -> str:
    """A table in Markdown; floats to four digits, missing values as a dash."""
    lines = [" | ".join(map(str, table.columns)), " | ".join("---" for _ in table.columns)]
    for _, row in table.iterrows():
        lines.append(" | ".join(_cell(value) for value in row))
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return "-"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|")
