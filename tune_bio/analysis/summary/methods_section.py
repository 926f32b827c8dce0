"""The parts of a paper's methods that a program can fill in, for summary.md.

The order follows CLAIM (Mongan, Moy & Kahn 2020, Radiology: Artificial Intelligence 2:e200029; 2024
update) and TRIPOD+AI (Collins et al. 2024, BMJ 385:e078378); what neither a program nor these
records know (who was included and when, the reference standard) stays to be written.
"""

from typing import Any

from tune_bio.analysis.study_records import StudyRecords
from tune_bio.common.labels import format_utc, metric_name, pluralize, short_name

SEARCHERS = {
    "tpe": "the tree-structured Parzen estimator of Optuna",
    "random": "random search",
    "grid": "a full grid",
    "gp": "Bayesian optimisation with a Gaussian process",
}
SCHEDULERS = {
    "asha": "asynchronous successive halving stopped the worse ones early",
    "median": "the median rule stopped the worse ones early",
    "none": "each was trained to its end",
}


def methods_section(study: StudyRecords) -> list[str]:
    """A paragraph on each of: data, partition, training, selection, evaluation, what is missing."""
    manifest = study.manifest
    return [
        _data(manifest),
        _partition(manifest),
        _selection(study),
        _evaluation(study),
        "Not known to this program, and to be written: how and when the images were acquired and "
        "chosen, the reference standard of the labels and who set it, the patients' "
        "characteristics, and the intended use.",
    ]


def _data(manifest: dict[str, Any]) -> str:
    data = manifest["data"]
    images = sum(split["images"] for split in data["splits"].values())
    patients = sum(split["patients"] for split in data["splits"].values())
    who = f" of {patients:,} patients" if data["patients_known"] else ""
    shape = data["pixels"]["shape"]
    size = "mixed sizes" if shape == "mixed" else f"{shape[0]} x {shape[1]} pixels"
    findings = manifest["audit"]["findings"]
    audited = (
        f"What an audit found before training is listed above ({len(findings)})."
        if findings
        else "An audit before training found no copies and no defects."
    )
    return (
        f"**Data.** {images:,} images{who} of {size}, in {len(data['classes'])} classes "
        f"({', '.join(data['classes'])}; positive: {data['positive_class']}). {audited}"
    )


def _partition(manifest: dict[str, Any]) -> str:
    data = manifest["data"]
    parts = [
        f"{split['images']:,} images{_of_patients(data, split)} for {use}"
        for use, split in zip(
            ("training", "validation", "testing"), data["splits"].values(), strict=True
        )
    ]
    sides = data["patients_on_two_sides"]
    told = (
        "Patients could not be told apart, so that one may stand in several splits."
        if not data["patients_known"]
        else f"{sides} patients stand in more than one split."
        if sides
        else "No patient stands in more than one split."
    )
    return f"**Partition.** {_sentence(data['split'])} {', '.join(parts)}. {told}"


def _of_patients(data: dict[str, Any], split: dict[str, Any]) -> str:
    return f" ({split['patients']:,} patients)" if data["patients_known"] else ""


def _selection(study: StudyRecords) -> str:
    settings, listed = study.manifest["settings"], study.manifest["space"]["listed"]
    how = "a list of configurations" if listed else SEARCHERS[settings["searcher"]]
    text = (
        f"**Training and selection.** {len(study.trials)} configurations by {how}; "
        f"{SCHEDULERS[settings['scheduler']]}. They were ranked by {metric_name(study.metric)} at "
        f"the best epoch; seed {settings['seed']}."
    )
    if not study.confirmed:
        return text
    seeds = pluralize(len(study.confirmed[0]["scores"]), "seed")
    best = len(study.confirmed)
    finalists = "the best was" if best == 1 else f"the best {best} were"
    chosen = "every one was" if study.whole else finalists
    return (
        f"{text} Of these, {chosen} trained under {seeds}; the one with the best mean on "
        "validation was taken, and of its replicates the one in the middle."
    )


def _evaluation(study: StudyRecords) -> str:
    opened = study.manifest["test_set_opened"]
    if not opened:
        return "**Evaluation.** On validation alone: the test set was not opened."
    when = " and ".join(format_utc(opening["when"]) for opening in opened)
    fixed, rule = "Winner and replicate", ""
    if len(study.manifest["data"]["classes"]) == 2:
        sensitivity = study.manifest["settings"]["sensitivity"]
        by = f"a sensitivity of {sensitivity:g}" if sensitivity else "Youden's index"
        fixed = "Winner, replicate and operating point"
        rule = f"The operating point was chosen on validation by {by}. "
    return (
        f"**Evaluation.** {rule}{fixed} were fixed before the test set was opened ({when}). "
        f"{_intervals(study)}"
    )


def _intervals(study: StudyRecords) -> str:
    """How the intervals on the test set were made, by method."""
    found = study.evaluations
    if found.empty or not (found["split"] == "test").any():
        return "It is not evaluated."
    ways = found.loc[found["split"] == "test", ["metric", "method"]].drop_duplicates()
    named = [
        f"{', '.join(map(short_name, group['metric']))}: {method}"
        for method, group in ways.groupby("method", sort=False)
        if not str(method).startswith("none")
    ]
    unit = (
        "with the patient as the unit"
        if study.patients_known
        else "with the image as the unit, since patients are not known, and may be too narrow"
    )
    return f"95 % intervals are made {unit}: {'; '.join(named)}."


def _sentence(text: str) -> str:
    text = text.rstrip(".")
    return f"{text[:1].upper()}{text[1:]}:"
