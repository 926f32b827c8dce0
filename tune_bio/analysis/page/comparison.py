"""Studies side by side: what their best configurations reach, on what data, at what cost."""

import statistics
from collections.abc import Mapping
from typing import Any

import pandas as pd

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.page.answer import question
from tune_bio.analysis.page.dot_plot import DotPlot, Group, plot, test_scores
from tune_bio.analysis.page.page_data import Table
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.analysis.tables.trial_table import configuration, format_estimate
from tune_bio.common.labels import format_duration, metric_name, pluralize

Studies = Mapping[str, tuple[StudyRecords, Conclusions]]


def comparison_content(studies: Studies) -> dict[str, Any]:
    """Every value of the template comparison.html."""
    records = {name: study for name, (study, _) in studies.items()}
    return {
        "table": _table({name: _entries(*both) for name, both in studies.items()}),
        "questions": [(name, question(study.manifest)) for name, study in records.items()],
        "notes": _notes(records),
        "plots_by_metric": _dot_plots(records),
    }


def _table(columns: Mapping[str, dict[str, object]]) -> Table | None:
    """A study a column, so that what is compared stands side by side."""
    frame = pd.DataFrame(columns).dropna(how="all")
    return Table.of(frame.rename_axis("").reset_index())


def _entries(study: StudyRecords, conclusions: Conclusions) -> dict[str, object]:
    data, manifest = study.manifest["data"], study.manifest
    both = pd.concat([study.trials, study.replicates])
    row: dict[str, object] = {"best configuration": None, "ranked by": metric_name(study.metric)}
    row |= dict.fromkeys(
        ("validation", "corrected for selection", "test AUROC", "test accuracy", "parameters")
    )
    if not study.ranking.empty:
        best = study.ranking.iloc[0]
        row["validation"] = f"{best['score']:.3f}, one seed"
        if study.confirmed:
            first = study.confirmed[0]
            best, middle = study.trial(first["trial"]), study.trial(first["median"])
            row["validation"] = _of_seeds(list(first["scores"].values()))
            row["test AUROC"] = format_estimate(middle, "test_auroc")
            row["test accuracy"] = format_estimate(middle, "test_accuracy")
        row["best configuration"] = f"{best['trial_id']}: {configuration(study, best)}"
        row["parameters"] = f"{best['parameters']:,.0f}" if pd.notna(best["parameters"]) else None
    if (found := conclusions.selection) is not None:
        row["corrected for selection"] = f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
    splits = data["splits"].values()
    patients = " / ".join(f"{s['patients']:,}" for s in splits) if data["patients_known"] else None
    return row | {
        "data": data["source"],
        "images": " / ".join(f"{split['images']:,}" for split in splits),
        "patients": patients,
        "trials": str(len(study.trials)),
        "epochs trained": f"{both['epochs_trained'].fillna(0).sum():,.0f}",
        "time": format_duration(manifest["seconds"]),
        "flags": str(len(manifest.get("flags", []))),
        "state": "ended" if study.ended and not manifest.get("interrupted") else "not ended",
    }


def _of_seeds(scores: list[float]) -> str:
    spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
    return f"{statistics.fmean(scores):.3f}{spread}, {pluralize(len(scores), 'seed')}"


def _notes(records: Mapping[str, StudyRecords]) -> list[str]:
    """Why scores may not be set beside each other."""
    notes = []
    test_sets = {study.manifest["data"]["splits"]["test"]["sha256"] for study in records.values()}
    if len(test_sets) > 1:
        notes.append(
            "The studies have different test images: a difference between their scores may be one "
            "between their images."
        )
    if len({study.metric for study in records.values()}) > 1:
        notes.append("The studies are ranked by different metrics.")
    unended = [name for name, study in records.items() if not study.ended]
    if unended:
        notes.append(f"Not ended: {', '.join(unended)}.")
    synthetic = [n for n, study in records.items() if study.manifest["data"].get("synthetic")]
    if synthetic:
        notes.append(
            f"Synthetic data ({', '.join(synthetic)}): no result on them says anything about "
            "patients."
        )
    return notes


def _dot_plots(records: Mapping[str, StudyRecords]) -> list[tuple[str, DotPlot]]:
    """A plot a metric, with a row for each study that is ranked by it."""
    found = []
    for metric in dict.fromkeys(study.metric for study in records.values()):
        of_metric = {n: s for n, s in records.items() if s.metric == metric}
        groups = [_group(name, study) for name, study in of_metric.items()]
        if any(len(group.every) for group in groups):
            ascending = next(iter(of_metric.values())).ascending
            found.append((metric_name(metric), plot(groups, ascending=ascending, by="study")))
    return found


def _group(name: str, study: StudyRecords) -> Group:
    """A study's row: its trials, the seeds of its best configuration, their middle on test."""
    scores = study.ranking.set_index("trial_id")["score"]
    if not study.confirmed:
        return Group(name, scores, scores.iloc[:0])
    first = study.confirmed[0]
    seeds = pd.Series(first["scores"], dtype=float)
    tests = test_scores(study, [first["median"]])
    return Group(name, scores[~scores.index.isin(seeds.index)], seeds, tests)
