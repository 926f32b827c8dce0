"""The parts of a paper's methods section that the records can fill in, for summary.md.

The order follows CLAIM (Mongan, Moy & Kahn 2020, Radiology: Artificial Intelligence 2:e200029; 2024
update) and TRIPOD+AI (Collins et al. 2024, BMJ 385:e078378). Facts that the records do not contain
(who was included and when, the reference standard) remain for the authors to write.
"""

from typing import Any

from tune_bio.analysis.study_records import StudyRecords
from tune_bio.common.labels import format_utc, metric_name, pluralize, short_name

SEARCHERS = {
    "tpe": "proposed by the tree-structured Parzen estimator of Optuna",
    "random": "drawn by random search",
    "grid": "taken from a full grid",
    "gp": "proposed by Bayesian optimisation with a Gaussian process",
}
SCHEDULERS = {
    "asha": "asynchronous successive halving stopped the worse trials early",
    "median": "the median stopping rule stopped the worse trials early",
    "none": "each was trained to the end",
}


def methods_section(study: StudyRecords) -> list[str]:
    """Write paragraphs on data, partition, training and selection, evaluation, and omissions."""
    manifest = study.manifest
    return [
        _data(manifest),
        _partition(manifest),
        _selection(study),
        _evaluation(study),
        "To be added by the authors, because the records do not contain it: how and when the "
        "images were acquired and selected, the reference standard of the labels and who "
        "established it, the characteristics of the patients, and the intended use.",
    ]


def _data(manifest: dict[str, Any]) -> str:
    data = manifest["data"]
    images = sum(split["images"] for split in data["splits"].values())
    patients = sum(split["patients"] for split in data["splits"].values())
    origin = f" from {patients:,} patients" if data["patients_known"] else ""
    shape = data["pixels"]["shape"]
    size = "mixed sizes" if shape == "mixed" else f"{shape[0]} x {shape[1]} pixels"
    findings = manifest["audit"]["findings"]
    audit = (
        f"The data were audited before training; the findings ({len(findings)}) are listed above."
        if findings
        else "An audit of the data before training found no duplicates and no defects."
    )
    return (
        f"**Data.** {images:,} images{origin}, of {size}, in {len(data['classes'])} classes "
        f"({', '.join(data['classes'])}; positive class: {data['positive_class']}). {audit}"
    )


def _partition(manifest: dict[str, Any]) -> str:
    data = manifest["data"]
    parts = [
        f"{split['images']:,} images{_of_patients(data, split)} for {use}"
        for use, split in zip(
            ("training", "validation", "testing"), data["splits"].values(), strict=True
        )
    ]
    shared = data["patients_on_two_sides"]
    overlap = (
        "Patients are unknown, so images of one patient may be in several splits."
        if not data["patients_known"]
        else f"{shared} patients have images in more than one split."
        if shared
        else "No patient has images in more than one split."
    )
    return f"**Partition.** {_heading(data['split'])} {', '.join(parts)}. {overlap}"


def _of_patients(data: dict[str, Any], split: dict[str, Any]) -> str:
    return f" ({split['patients']:,} patients)" if data["patients_known"] else ""


def _selection(study: StudyRecords) -> str:
    settings, listed = study.manifest["settings"], study.manifest["space"]["listed"]
    origin = "taken from a list" if listed else SEARCHERS[settings["searcher"]]
    text = (
        f"**Training and selection.** {len(study.trials)} configurations were {origin}; "
        f"{SCHEDULERS[settings['scheduler']]}. They were ranked by {metric_name(study.metric)} at "
        f"the best epoch. The seed of the study was {settings['seed']}."
    )
    if not study.confirmed:
        return text
    seeds = pluralize(len(study.confirmed[0]["scores"]), "seed")
    best = len(study.confirmed)
    finalists = "the best was" if best == 1 else f"the best {best} were"
    replicated = "every one was" if study.whole else finalists
    return (
        f"{text} Of these, {replicated} trained under {seeds}; the configuration with the best "
        "mean on validation was selected, represented by its median replicate."
    )


def _evaluation(study: StudyRecords) -> str:
    opened = study.manifest["test_set_opened"]
    if not opened:
        return "**Evaluation.** On the validation set only; the test set was not opened."
    when = " and ".join(format_utc(opening["when"]) for opening in opened)
    fixed, rule = "The winner and its replicate", ""
    if len(study.manifest["data"]["classes"]) == 2:
        sensitivity = study.manifest["settings"]["sensitivity"]
        criterion = f"for a sensitivity of {sensitivity:g}" if sensitivity else "by Youden's index"
        fixed = "The winner, its replicate and its operating point"
        rule = f"The operating point was chosen on the validation set {criterion}. "
    return (
        f"**Evaluation.** {rule}{fixed} were fixed before the test set was opened ({when}). "
        f"{_intervals(study)}"
    )


def _intervals(study: StudyRecords) -> str:
    """Describe how the intervals on the test set were computed, by method."""
    evaluations = study.evaluations
    if evaluations.empty or not (evaluations["split"] == "test").any():
        return "The test set was not evaluated."
    methods = evaluations.loc[
        evaluations["split"] == "test", ["metric", "method"]
    ].drop_duplicates()
    descriptions = [
        f"{', '.join(map(short_name, group['metric']))}: {method}"
        for method, group in methods.groupby("method", sort=False)
        if not str(method).startswith("none")
    ]
    unit = (
        "the patient as the unit of analysis"
        if study.patients_known
        else "the image as the unit of analysis, since patients are unknown, and may be too narrow"
    )
    return f"The 95 % intervals use {unit}. Methods by metric: {'; '.join(descriptions)}."


def _heading(text: str) -> str:
    """Capitalize a text and end it with a colon."""
    text = text.rstrip(".")
    return f"{text[:1].upper()}{text[1:]}:"
