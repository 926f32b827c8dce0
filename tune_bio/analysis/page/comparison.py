"""Several studies compared: their best configurations, their data and their cost."""

import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.figures.studies import StudyScores, plot_studies
from tune_bio.analysis.figures.style import rendered_png, styled
from tune_bio.analysis.page.answer import question
from tune_bio.analysis.page.gallery import png_uri
from tune_bio.analysis.page.page_data import Table
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.analysis.tables.trial_table import configuration, format_estimate
from tune_bio.common.labels import format_duration, metric_name, pluralize, without_split

Studies = Mapping[str, tuple[StudyRecords, Conclusions]]


def comparison_content(studies: Studies) -> dict[str, Any]:
    """Return the values of the template comparison.html."""
    records = {name: study for name, (study, _) in studies.items()}
    return {
        "table": _table({name: _entries(*both) for name, both in studies.items()}),
        "questions": [(name, question(study.manifest)) for name, study in records.items()],
        "notes": _notes(records),
        "figures": _figures(records),
    }


def _table(columns: Mapping[str, dict[str, object]]) -> Table | None:
    """Tabulate the studies, one per column, so that what is compared is side by side."""
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
            winner = study.confirmed[0]
            best, median = study.trial(winner["trial"]), study.trial(winner["median"])
            row["validation"] = _mean_over_seeds(list(winner["scores"].values()))
            row["test AUROC"] = format_estimate(median, "test_auroc")
            row["test accuracy"] = format_estimate(median, "test_accuracy")
        row["best configuration"] = f"{best['trial_id']}: {configuration(study, best)}"
        row["parameters"] = f"{best['parameters']:,.0f}" if pd.notna(best["parameters"]) else None
    if (selection := conclusions.selection) is not None:
        interval = f"({selection.low:.3f} to {selection.high:.3f})"
        row["corrected for selection"] = f"{selection.value:.3f} {interval}"
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


def _mean_over_seeds(scores: list[float]) -> str:
    spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
    return f"{statistics.fmean(scores):.3f}{spread}, {pluralize(len(scores), 'seed')}"


def _notes(records: Mapping[str, StudyRecords]) -> list[str]:
    """Return the reasons why the scores may not be comparable."""
    notes = []
    test_sets = {study.manifest["data"]["splits"]["test"]["sha256"] for study in records.values()}
    if len(test_sets) > 1:
        notes.append(
            "The studies have different test images: a difference between their scores may come "
            "from their images."
        )
    if len({study.metric for study in records.values()}) > 1:
        notes.append("The studies are ranked by different metrics.")
    unfinished = [name for name, study in records.items() if not study.ended]
    if unfinished:
        notes.append(f"Not ended: {', '.join(unfinished)}.")
    synthetic = [n for n, study in records.items() if study.manifest["data"].get("synthetic")]
    if synthetic:
        notes.append(
            f"Synthetic data ({', '.join(synthetic)}): results on them say nothing about patients."
        )
    return notes


def _figures(records: Mapping[str, StudyRecords]) -> list[tuple[str, str]]:
    """Return a figure per metric, as a data URI, with a row for each study ranked by it."""
    figures = []
    for metric in dict.fromkeys(study.metric for study in records.values()):
        scores = [_scores(name, study) for name, study in records.items() if study.metric == metric]
        if any(len(row.trials) for row in scores):
            with styled("".join(records)):
                png = rendered_png(plot_studies(scores, metric))
            figures.append((metric_name(metric), png_uri(png)))
    return figures


def _scores(name: str, study: StudyRecords) -> StudyScores:
    trials = study.ranking["score"].to_numpy(np.float64)
    if not study.confirmed:
        return StudyScores(name, trials, np.array([]), None)
    winner = study.confirmed[0]
    replicates = np.array(list(winner["scores"].values()), dtype=np.float64)
    return StudyScores(name, trials, replicates, _test_score(study, winner["median"]))


def _test_score(study: StudyRecords, trial: str) -> tuple[float, float, float] | None:
    """Return a trial's test score in the study's metric with its interval, if it has one."""
    evaluations = study.evaluations
    if evaluations.empty:
        return None
    of_trial = (evaluations["trial"] == trial) & (evaluations["split"] == "test")
    rows = evaluations[of_trial & (evaluations["metric"] == without_split(study.metric))]
    rows = rows.dropna(subset=["value"])
    if rows.empty:
        return None
    value, low, high = rows[["value", "low", "high"]].astype(float).iloc[0]
    return float(value), float(low), float(high)
