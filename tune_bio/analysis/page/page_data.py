"""The values of the template report.html, from the records; only sections are HTML."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.page.answer import answer, question
from tune_bio.analysis.page.gallery import gallery
from tune_bio.analysis.page.leaderboard import leaderboard, leaderboard_order
from tune_bio.analysis.page.plots import plot_data
from tune_bio.analysis.page.rerun_command import command_of
from tune_bio.analysis.page.sections import sections
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.analysis.summary.summary import summary_parts
from tune_bio.common.labels import format_duration, format_utc, metric_name

EVALUATED = 8  # trials whose metrics the page lists; evaluations.parquet contains all


@dataclass(frozen=True)
class Table:
    """Column headings and cells, as texts."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "Table | None":
        """Convert a frame to texts; None if it is empty."""
        if frame.empty:
            return None
        rows = tuple(tuple(map(_cell, row)) for row in frame.itertuples(index=False))
        return cls(tuple(map(str, frame.columns)), rows)


def page_content(study: StudyRecords, conclusions: Conclusions, folder: Path) -> dict[str, Any]:
    """Return the values of the template report.html.

    Args:
        study, conclusions: the content of the page.
        folder: the study's folder, which contains its figures.
    """
    manifest, order = study.manifest, leaderboard_order(study)
    figures, placed, too_large = gallery(folder / "figures")
    content = {
        "name": manifest["name"],
        "question": question(manifest),
        "answer": answer(study, conclusions),
        "state": _state(study),
        "notes": manifest["data"]["notes"],
        "flags": [flag["message"] for flag in manifest.get("flags", [])],
        "facts": _facts(study),
        "metric": metric_name(study.metric),
        "patients_known": study.patients_known,
        "board": leaderboard(study, order),
        "sections": sections(summary_parts(study, conclusions)),
        "evaluations": _evaluations(study),
        "figures": figures,
        "placed": placed,
        "figures_left": too_large,
        "command": command_of(manifest),
        "versions": manifest.get("versions", {}),
        "space": manifest["space"],
        "manifest": json.dumps(manifest, indent=1, ensure_ascii=False),
    }
    if not study.epochs.empty:
        content["plots"] = plot_data(study, order)
    return content


def _state(study: StudyRecords) -> str:
    """Return a notice if the study is unfinished or was interrupted, else an empty text."""
    if not study.ended:
        return "This study has not ended: it is running or was killed. The records so far follow."
    if study.manifest.get("interrupted"):
        return "This study was interrupted; use --resume to continue it."
    return ""


def _facts(study: StudyRecords) -> list[tuple[str, str]]:
    data, trials = study.manifest["data"], pd.concat([study.trials, study.replicates])
    images = " / ".join(f"{split['images']:,}" for split in data["splits"].values())
    patients = " / ".join(f"{split['patients']:,}" for split in data["splits"].values())
    splits = " / ".join(data["splits"])
    facts = [
        ("Data", str(data["source"])),
        (f"Images ({splits})", images),
        ("Patients", patients if data["patients_known"] else "unknown"),
        ("Classes", ", ".join(data["classes"])),
        ("Trials", f"{len(study.trials)}" + _after_search(study)),
        ("Epochs trained", f"{trials['epochs_trained'].fillna(0).sum():,.0f}"),
        ("Flags", str(len(study.manifest.get("flags", [])) or "none")),
        ("Time", format_duration(study.manifest["seconds"])),
    ]
    if study.manifest.get("started"):
        facts.append(("Started", format_utc(study.manifest["started"])))
    return facts


def _after_search(study: StudyRecords) -> str:
    return f", plus {len(study.replicates)} after the search" if len(study.replicates) else ""


def _evaluations(study: StudyRecords) -> list[tuple[str, Table]]:
    """Tabulate all metrics of the median replicates, the winner's first."""
    evaluations = study.evaluations
    if evaluations.empty:
        return []
    trials = [finalist["median"] for finalist in study.confirmed][:EVALUATED]
    tables = []
    for trial in trials:
        rows = evaluations[evaluations["trial"] == trial]
        if table := Table.of(_metrics(rows)):
            tables.append((trial, table))
    return tables


def _metrics(rows: pd.DataFrame) -> pd.DataFrame:
    """Tabulate metrics, one per row: validation, test, chance level, method of the interval."""
    table: dict[str, dict[str, object]] = {}
    for row in rows.to_dict("records"):
        split = "validation" if row["split"] == "val" else "test"
        entry = table.setdefault(str(row["metric"]), {"metric": metric_name(str(row["metric"]))})
        interval = "" if pd.isna(row["low"]) else f" ({row['low']:.3f} to {row['high']:.3f})"
        entry[split] = "-" if pd.isna(row["value"]) else f"{row['value']:.3f}{interval}"
        entry[f"chance, {split}"] = row["chance"]
        entry["interval"] = row["method"]
    frame = pd.DataFrame(list(table.values()))
    columns = ["metric", "validation", "test", "chance, test", "interval"]
    return frame[[name for name in columns if name in frame]]


def _cell(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
