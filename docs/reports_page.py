"""reports.md: our tables beside those of the course reports, and what is left of their figures."""

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
class Ran:
    """A report's study here: its records, or why there are none.

    An `addition` asks the same of another model.
    """

    report: Report
    study: StudyRecords | None
    predictions: pd.DataFrame
    missing: str = ""
    addition: bool = False


def read(report: Report, folder: Path, *, addition: bool = False) -> Ran:
    """What a study has left in its folder; raises ResultsError."""
    return Ran(report, read_study(folder), read_predictions(folder), addition=addition)


def not_run(report: Report, missing: str) -> Ran:
    """A report that could not be run here, and why."""
    return Ran(report, None, pd.DataFrame(), missing)


def page(ran: list[Ran], introduction: str) -> str:
    """The whole page, in Markdown."""
    parts = ["# Five course reports, run again", introduction, "## In short", _in_short(ran)]
    for one in ran:
        parts += section(one)
    return "\n\n".join(part for part in parts if part) + "\n"


def section(ran: Ran) -> Iterator[str]:
    """One report: its table beside ours, its claims, and what is to be known beside them."""
    report, study = ran.report, ran.study
    title = f"{report.title} Another model" if ran.addition else report.title
    yield f"## {report.letter}. {title}"
    if not ran.addition:
        yield f"The report: {report.about}"
    if study is None:
        yield f"**Not run here**: {_here(ran.missing)}."
    else:
        yield _described(study)
    yield _table(ran)
    if study is None:
        return
    yield markdown_table(
        pd.DataFrame(
            [
                {"its figures say": claim.text, "here": " ".join(judged(claim, study))}
                for claim in report.claims
            ]
        )
    )
    yield "\n".join(f"- {told}" for told in _beside(ran, study))
    if report.together and not ran.addition:
        yield from _together(report, study)


def judged(claim: Claim, study: StudyRecords | None) -> tuple[str, str]:
    """What is left of a claim, in a word, and the figures that say so."""
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
    found = _difference(claim, effect)
    if found is None:
        return "**not run**", "(one of the two was not trained)"
    value, low, high = (100 * number for number in found)
    told = f"({value:+.1f} points, {low:+.1f} to {high:+.1f}; {limit})"
    if max(-low, high) < 100 * effect["margin"]:
        return "**equal**", told
    if low > 0:
        return "**held up**", told
    return ("**the opposite**" if high < 0 else "**noise**"), told


def _in_short(ran: list[Ran]) -> str:
    rows = []
    for one in ran:
        name = f"{one.report.letter}, another model" if one.addition else one.report.letter
        for claim in one.report.claims:
            if one.addition and _effect(claim, one.study) is None:
                continue
            rows.append(
                {"report": name, "its figures say": claim.text, "here": judged(claim, one.study)[0]}
            )
    told = (
        "*held up*, *the opposite*: the simultaneous 95 % limits of the difference leave 0 out; "
        "*matters*: p < 0.05 after Holm's correction; *equal*: the limits lie within 1 point; "
        "*noise*: none of these, so that the figures may be chance. All on validation accuracy."
    )
    return f"{markdown_table(pd.DataFrame(rows))}\n\n{told}"


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
        f"{len(study.trials)} configurations under {settings['replicates']} seeds, in "
        f"{format_seconds(manifest['seconds'])} min.{notes} Accuracies in %, means over seeds ± "
        "their standard deviation."
    )


def _table(ran: Ran) -> str:
    """The report's rows, each beside what was trained here."""
    printed = list(dict.fromkeys(name for row in ran.report.rows for name in row.printed))
    rows = []
    for row in ran.report.rows:
        ours = _ours(row, ran)
        if ran.addition and ours == {}:
            continue
        cells = {"trained": row.name + (f" ({row.note})" if row.note else "")}
        cells |= {f"report: {name}": row.printed.get(name, "-") for name in printed}
        ours = ours or {"seeds": NOT_RUN}
        rows.append({**cells, **{f"here: {name}": value for name, value in ours.items()}})
    return markdown_table(pd.DataFrame(rows).fillna("-"))


def _ours(row: Row, ran: Ran) -> dict[str, str]:
    """Our figures of a row; none where it was not run."""
    study = ran.study
    if study is None or not row.trained:
        return {}
    found = matching(row.trained, study)
    if found.empty:
        return {}
    first = found.iloc[0]
    epoch, length = found["best_val_loss_epoch"].median(), found["epochs_run"].median()
    return {
        "seeds": str(len(found)),
        "train loss, last": mean_and_spread(found["final_train_loss"], 3),
        "train accuracy, best": mean_and_spread(100 * found["best_train_accuracy"], 1),
        "validation accuracy, last": mean_and_spread(100 * found["final_val_accuracy"], 1),
        "validation accuracy, best": mean_and_spread(100 * found["best_val_accuracy"], 1),
        "best validation loss at": f"{epoch:.0f}/{length:.0f} "
        f"({mean_and_spread(found['best_val_loss'], 3)})",
        "test accuracy (95 %, seeds and patients)": _test_accuracy(found, ran, study),
        "test loss": mean_and_spread(found["test_loss"], 3),
        "train/validation gap": mean_and_spread(100 * found["generalization_gap"], 1),
        "time": format_seconds(found["seconds"].mean()),
        "parameters": format_count(first["parameters"]),
        "multiply-adds": format_count(first["multiply_adds"]),
    }


def matching(trained: Params, study: StudyRecords) -> pd.DataFrame:
    """The trials of the configuration that a report describes, under all seeds.

    Of several, it is the first; lengths beyond the study's are its longest.
    """
    longest = study.manifest["settings"]["max_epochs"]
    both = pd.concat([study.trials, study.replicates], ignore_index=True).sort_values("trial_id")
    wanted = both["status"].eq("completed")
    for name, value in trained.items():
        cut = min(int(value), longest) if name == "epochs" else value
        wanted &= both[PARAMS + name].map(lambda has, cut=cut: _same(has, cut))
    found = both[wanted]
    return found[found["config_id"] == found["config_id"].iloc[0]] if len(found) else found


def _test_accuracy(found: pd.DataFrame, ran: Ran, study: StudyRecords) -> str:
    rows = ran.predictions[ran.predictions["split"] == "test"]
    by_trial = [rows[rows["trial"] == trial] for trial in found["trial_id"]]
    if len(by_trial) < 2 or any(table.empty for table in by_trial):
        return mean_and_spread(100 * found["test_accuracy"], 1)
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


def _beside(ran: Ran, study: StudyRecords) -> Iterator[str]:
    """What one run a setting could not tell: the noise floor, controls, reuse, what is missing."""
    conclusions = study.manifest.get("conclusions") or {}
    noise = conclusions.get("noise")
    if noise:
        yield (
            f"Noise floor: under fresh seeds the validation accuracy of one setting has a standard "
            f"deviation of {_points(noise['sd'])}."
        )
    found = study.evaluations
    pixels = found[(found["trial"] == "control:pixels") & (found["metric"] == "accuracy")]
    for _, row in pixels[pixels["split"] == "test"].iterrows():
        yield (
            f"Control: logistic regression on small images has a test accuracy of "
            f"{100 * row['value']:.1f} % ({100 * row['low']:.1f} to {100 * row['high']:.1f})."
        )
    both = pd.concat([study.trials, study.replicates], ignore_index=True)
    trained, run = both["epochs_trained"].sum(), both["epochs_run"].sum()
    if trained < run:
        yield f"{run:,.0f} epochs stand in the table, {trained:,.0f} were trained."
    for one in study.manifest.get("features", []):
        yield f"Frozen features, {'computed once' if one['computed'] else 'kept'}: {one['of']}."
    reasons = dict.fromkeys(one["reason"] for one in study.not_run)
    yield from (f"Not run: {_here(reason)}." for reason in reasons)
    yield from (f"Note: {note}." for note in conclusions.get("notes", []))


def _together(report: Report, study: StudyRecords) -> Iterator[str]:
    """Two hyperparameters whose best values may depend on each other; speed by the first."""
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
        yield f"Whether they differ: {error}."
    else:
        told = [d for d in effect.differences if d.low > 0 or d.high < 0]
        apart = "; ".join(f"{d.a} and {d.b} ({100 * d.difference:+.1f})" for d in told)
        yield (
            f"Pairs that differ: {apart or 'none'}. {_points(effect.detectable)} between two pairs "
            "would be seen in 80 % of such grids."
        )
    speed = table.groupby(a)[["seconds_per_epoch", "epochs_to_plateau", "val_loss_jitter"]].mean()
    speed = speed.rename(
        columns={
            "seconds_per_epoch": "s an epoch",
            "epochs_to_plateau": "epochs to the plateau",
            "val_loss_jitter": "jitter of the validation loss",
        }
    )
    yield f"Its questions of speed, convergence and oscillation, by {a}:"
    yield markdown_table(speed.round(4).reset_index())


def _effect(claim: Claim, study: StudyRecords | None) -> dict[str, Any] | None:
    conclusions = (study.manifest.get("conclusions") or {}) if study else {}
    found = [e for e in conclusions.get("effects", []) if e["hyperparameter"] == claim.about]
    return dict(found[0]) if found else None


def _difference(claim: Claim, effect: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Better less worse, with its limits."""
    better = _level(claim.better, claim.about, effect)
    worse = _level(claim.worse, claim.about, effect)
    for one in effect["differences"]:
        if (one["a"], one["b"]) == (better, worse):
            return one["difference"], one["low"], one["high"]
        if (one["a"], one["b"]) == (worse, better):
            return -one["difference"], -one["high"], -one["low"]
    return None


def _level(params: Params, about: str, effect: Mapping[str, Any]) -> str | None:
    for level in effect["means"]:
        has = dict(part.split(" ", 1) for part in level.split(", ")) if about == "configuration" \
            else {about: level}  # fmt: skip
        if all(_same(has.get(name), value) for name, value in params.items()):
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
    """Why weights are missing, without what the network of this machine had to say."""
    return re.sub(r", and \S+ cannot be reached", "", reason).rstrip(".")
