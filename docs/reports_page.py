"""The page reports.md: our tables next to those of the course reports, and verdicts on claims."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from course_reports import Claim, Report, Row

from tune_bio.analysis.statistics import effects, mean_over_seeds
from tune_bio.analysis.study_records import PARAMS, StudyRecords, read_study
from tune_bio.analysis.summary.markdown_table import markdown_table
from tune_bio.analysis.tables.trial_table import format_count, format_seconds, mean_and_spread
from tune_bio.errors import StatisticsError
from tune_bio.records.tables import read_predictions
from tune_bio.space.trial_config import Params

NOT_RUN = "not run"


@dataclass(frozen=True)
class ReportRun:
    """The study that repeats a report: its records, or the reason why it was not run.

    An `addition` asks the report's question of another model.
    """

    report: Report
    study: StudyRecords | None
    predictions: pd.DataFrame
    missing: str = ""
    addition: bool = False


def read(report: Report, folder: Path, *, addition: bool = False) -> ReportRun:
    """Read the records of a report's study from its folder; raise ResultsError if that fails."""
    return ReportRun(report, read_study(folder), read_predictions(folder), addition=addition)


def not_run(report: Report, missing: str) -> ReportRun:
    """Return a report that could not be run here, with the reason."""
    return ReportRun(report, None, pd.DataFrame(), missing)


def page(runs: list[ReportRun], introduction: str) -> str:
    """Return the whole page as Markdown."""
    parts = ["# Five course reports, run again", introduction, "## In short", _in_short(runs)]
    for run in runs:
        parts += section(run)
    return "\n\n".join(part for part in parts if part) + "\n"


def section(run: ReportRun) -> Iterator[str]:
    """Yield the section of one report: its table next to ours, verdicts on its claims, notes."""
    report, study = run.report, run.study
    title = f"{report.title} Another model" if run.addition else report.title
    yield f"## {report.letter}. {title}"
    if not run.addition:
        yield f"The report: {report.about}"
    if study is None:
        yield f"**Not run here**: {_here(run.missing)}."
    else:
        yield _described(study)
    yield _table(run)
    if study is None:
        return
    yield markdown_table(
        pd.DataFrame(
            [
                {"claim": claim.text, "here": " ".join(judged(claim, study))}
                for claim in report.claims
            ]
        )
    )
    yield "\n".join(f"- {note}" for note in _notes(run, study))
    if report.together and not run.addition:
        yield from _together(report, study)


def judged(claim: Claim, study: StudyRecords | None) -> tuple[str, str]:
    """Return the verdict on a claim, and the figures behind it."""
    effect = _effect(claim, study)
    if effect is None:
        return "**not run**", "" if study is None else "(not varied here, or not judged)"
    needed = effect["seeds_needed"]
    limit = f"{_points(effect['detectable'])} would be seen in 80 % of such grids" + (
        f", 1 point with {needed:,} seeds each" if needed else ""
    )
    if not claim.better:
        means = ", ".join(f"{level}: {100 * mean:.1f}" for level, mean in effect["means"].items())
        p = f"p = {effect['p_value']:.2g}; {limit}"
        if effect["verdict"] == "matters":
            return "**matters**", f"({means} %; {p})"
        word = "**equal**" if effect["verdict"].startswith("equal") else "**noise**"
        return word, f"({means} %; {p})"
    difference = _difference(claim, effect)
    if difference is None:
        return "**not run**", "(one of the two was not trained)"
    value, low, high = (100 * number for number in difference)
    figures = f"({value:+.1f} points, {low:+.1f} to {high:+.1f}; {limit})"
    if max(-low, high) < 100 * effect["margin"]:
        return "**equal**", figures
    if low > 0:
        return "**held up**", figures
    return ("**the opposite**" if high < 0 else "**noise**"), figures


def _in_short(runs: list[ReportRun]) -> str:
    rows = []
    for run in runs:
        name = f"{run.report.letter}, another model" if run.addition else run.report.letter
        for claim in run.report.claims:
            if run.addition and _effect(claim, run.study) is None:
                continue
            rows.append({"report": name, "claim": claim.text, "here": judged(claim, run.study)[0]})
    legend = (
        "*held up*, *the opposite*: the simultaneous 95 % limits of the difference exclude 0; "
        "*matters*: p < 0.05 after Holm's correction; *equal*: the limits are within 1 point; "
        "*noise*: none of these, so the figures may be due to chance. All are on "
        "validation accuracy."
    )
    return f"{markdown_table(pd.DataFrame(rows))}\n\n{legend}"


def _described(study: StudyRecords) -> str:
    manifest = study.manifest
    data, settings = manifest["data"], manifest["settings"]
    images = ", ".join(
        f"{split['images']:,} {name}"
        + (f" ({split['patients']})" if data["patients_known"] else "")
        for name, split in data["splits"].items()
    )
    side = " and ".join(
        f"{size:.0f}" for size in sorted(study.trials[PARAMS + "image_size"].dropna().unique())
    )
    patients = " (patients)" if data["patients_known"] else "; patients unknown"
    notes = "".join(f" **{note}.**" for note in data["notes"])
    return (
        f"Here: images{patients}: {images}; {side} px, up to {settings['max_epochs']} epochs, "
        f"{len(study.trials)} configurations with {settings['replicates']} seeds each, in "
        f"{format_seconds(manifest['seconds'])} min.{notes} Accuracies in %, means over seeds ± "
        "their standard deviation."
    )


def _table(run: ReportRun) -> str:
    """Return the report's rows, each with the figures of the same training here."""
    printed = list(dict.fromkeys(name for row in run.report.rows for name in row.printed))
    rows = []
    for row in run.report.rows:
        ours = _ours(row, run)
        if run.addition and ours == {}:
            continue
        cells = {"trained": row.name + (f" ({row.note})" if row.note else "")}
        cells |= {f"report: {name}": row.printed.get(name, "-") for name in printed}
        ours = ours or {"seeds": NOT_RUN}
        rows.append({**cells, **{f"here: {name}": value for name, value in ours.items()}})
    return markdown_table(pd.DataFrame(rows).fillna("-"))


def _ours(row: Row, run: ReportRun) -> dict[str, str]:
    """Return our figures for a row, or none if it was not run."""
    study = run.study
    if study is None or not row.trained:
        return {}
    trials = matching(row.trained, study)
    if trials.empty:
        return {}
    first = trials.iloc[0]
    epoch, length = trials["best_val_loss_epoch"].median(), trials["epochs_run"].median()
    return {
        "seeds": str(len(trials)),
        "train loss, last": mean_and_spread(trials["final_train_loss"], 3),
        "train accuracy, best": mean_and_spread(100 * trials["best_train_accuracy"], 1),
        "validation accuracy, last": mean_and_spread(100 * trials["final_val_accuracy"], 1),
        "validation accuracy, best": mean_and_spread(100 * trials["best_val_accuracy"], 1),
        "best validation loss at": f"{epoch:.0f}/{length:.0f} "
        f"({mean_and_spread(trials['best_val_loss'], 3)})",
        "test accuracy (95 %, seeds and patients)": _test_accuracy(trials, run, study),
        "test loss": mean_and_spread(trials["test_loss"], 3),
        "train/validation gap": mean_and_spread(100 * trials["generalization_gap"], 1),
        "time": format_seconds(trials["seconds"].mean()),
        "parameters": format_count(first["parameters"]),
        "multiply-adds": format_count(first["multiply_adds"]),
    }


def matching(trained: Params, study: StudyRecords) -> pd.DataFrame:
    """Return the trials, of all seeds, of the configuration that a report describes.

    If several configurations match, take the first. A number of epochs above the limit of the study
    matches that limit.
    """
    longest = study.manifest["settings"]["max_epochs"]
    both = pd.concat([study.trials, study.replicates], ignore_index=True).sort_values("trial_id")
    matches = both["status"].eq("completed")
    for name, value in trained.items():
        cut = min(int(value), longest) if name == "epochs" else value
        matches &= both[PARAMS + name].map(lambda actual, cut=cut: _same(actual, cut))
    trials = both[matches]
    return trials[trials["config_id"] == trials["config_id"].iloc[0]] if len(trials) else trials


def _test_accuracy(trials: pd.DataFrame, run: ReportRun, study: StudyRecords) -> str:
    rows = run.predictions[run.predictions["split"] == "test"]
    by_trial = [rows[rows["trial"] == trial] for trial in trials["trial_id"]]
    if len(by_trial) < 2 or any(table.empty for table in by_trial):
        return mean_and_spread(100 * trials["test_accuracy"], 1)
    first = by_trial[0]
    columns = [name for name in rows.columns if str(name).startswith("p_")]
    shares = np.stack([table[columns].to_numpy(np.float64) for table in by_trial])
    estimate = mean_over_seeds(
        first["label"].to_numpy(),
        shares / shares.sum(axis=2, keepdims=True),
        first["patient"].to_numpy(),
        "accuracy",
        positive=study.positive,
        patients_known=study.patients_known,
        seed=study.seed,
    )
    value, low, high = (100 * number for number in (estimate.value, estimate.low, estimate.high))
    return f"{value:.1f} ({low:.1f} to {high:.1f})"


def _notes(run: ReportRun, study: StudyRecords) -> Iterator[str]:
    """Yield what single runs cannot show: noise floor, controls, reuse, and rows not run."""
    conclusions = study.manifest.get("conclusions") or {}
    noise = conclusions.get("noise")
    if noise:
        yield (
            f"Noise floor: with fresh seeds, the validation accuracy of one configuration has a "
            f"standard deviation of {_points(noise['sd'])}."
        )
    table = study.evaluations
    pixels = table[(table["trial"] == "control:pixels") & (table["metric"] == "accuracy")]
    for _, row in pixels[pixels["split"] == "test"].iterrows():
        yield (
            f"Control: logistic regression on small images has a test accuracy of "
            f"{100 * row['value']:.1f} % ({100 * row['low']:.1f} to {100 * row['high']:.1f})."
        )
    both = pd.concat([study.trials, study.replicates], ignore_index=True)
    trained, shown = both["epochs_trained"].sum(), both["epochs_run"].sum()
    if trained < shown:
        yield f"{shown:,.0f} epochs are in the table, of which {trained:,.0f} were trained."
    for entry in study.manifest.get("features", []):
        yield (
            f"Frozen features, {'computed once' if entry['computed'] else 'reused'}: {entry['of']}."
        )
    reasons = dict.fromkeys(row["reason"] for row in study.not_run)
    yield from (f"Not run: {_here(reason)}." for reason in reasons)
    yield from (f"Note: {note}." for note in conclusions.get("notes", []))


def _together(report: Report, study: StudyRecords) -> Iterator[str]:
    """Compare pairs of values of two hyperparameters, and the speed of training by the first."""
    a, b = report.together
    both = pd.concat([study.trials, study.replicates], ignore_index=True)
    table = both.rename(columns=lambda name: str(name).removeprefix(PARAMS))
    usual = table["width"].mode().iloc[0]
    table = table[table["width"] == usual].assign(
        pair=table[a].astype(str) + " / " + table[b].astype(str)
    )
    cells = table.pivot_table(
        index=a, columns=b, values="score", aggfunc=lambda v: mean_and_spread(100 * v, 1)
    )
    cells.columns = [f"{b} {value:g}" for value in cells.columns]
    yield f"{a} and {b} together (validation accuracy in %, both losses):"
    yield markdown_table(cells.reset_index().astype(object).fillna("-"))
    names = ["pair", *(name for name in ("loss",) if table[name].nunique() > 1)]
    try:
        effect = effects(table, names, value="score")[0]
    except StatisticsError as error:
        yield f"The pairs are not compared: {error}."
    else:
        differing = [d for d in effect.differences if d.low > 0 or d.high < 0]
        apart = "; ".join(f"{d.a} and {d.b} ({100 * d.difference:+.1f})" for d in differing)
        yield (
            f"Pairs that differ: {apart or 'none'}. {_points(effect.detectable)} between two pairs "
            "would be seen in 80 % of such grids."
        )
    speed = table.groupby(a)[["seconds_per_epoch", "epochs_to_plateau", "val_loss_jitter"]].mean()
    speed = speed.rename(
        columns={
            "seconds_per_epoch": "seconds per epoch",
            "epochs_to_plateau": "epochs to the plateau",
            "val_loss_jitter": "jitter of the validation loss",
        }
    )
    yield f"Speed, convergence and oscillation, by {a}:"
    yield markdown_table(speed.round(4).reset_index())


def _effect(claim: Claim, study: StudyRecords | None) -> dict[str, Any] | None:
    conclusions = (study.manifest.get("conclusions") or {}) if study else {}
    matches = [e for e in conclusions.get("effects", []) if e["hyperparameter"] == claim.about]
    return dict(matches[0]) if matches else None


def _difference(claim: Claim, effect: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Return the mean of `better` minus that of `worse`, with its limits."""
    better = _level(claim.better, claim.about, effect)
    worse = _level(claim.worse, claim.about, effect)
    for entry in effect["differences"]:
        if (entry["a"], entry["b"]) == (better, worse):
            return entry["difference"], entry["low"], entry["high"]
        if (entry["a"], entry["b"]) == (worse, better):
            return -entry["difference"], -entry["high"], -entry["low"]
    return None


def _level(params: Params, about: str, effect: Mapping[str, Any]) -> str | None:
    for level in effect["means"]:
        pairs = dict(part.split(" ", 1) for part in level.split(", ")) if about == "configuration" \
            else {about: level}  # fmt: skip
        if all(_same(pairs.get(name), value) for name, value in params.items()):
            return str(level)
    return None


def _same(a: Any, b: Any) -> bool:
    try:
        return float(a) == float(b)
    except (TypeError, ValueError):
        return str(a) == str(b)


def _points(share: float) -> str:
    return f"{100 * share:.2g} points"


def _here(reason: str) -> str:
    """Return why weights are missing, without the network error of this machine."""
    return re.sub(r", and \S+ cannot be reached", "", reason).rstrip(".")
