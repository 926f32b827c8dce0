"""The table that a report on trainings has, generated: one row a trial, or one a configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tune_bio.analysis.study_records import PARAMS, StudyRecords
from tune_bio.common.labels import metric_name
from tune_bio.space.trial_config import format_value, hyperparameter_names

NOT_RUN = "not run"
# What a row of trials.parquet gives, by the name that it has in a report.
FIGURES = {
    "final train loss": "final_train_loss",
    "best train accuracy": "best_train_accuracy",
    "best validation loss": "best_val_loss",
    "final validation accuracy": "final_val_accuracy",
    "best validation accuracy": "best_val_accuracy",
    "test accuracy": "test_accuracy",
    "test accuracy, low": "test_accuracy_low",
    "test accuracy, high": "test_accuracy_high",
    "test loss": "test_loss",
    "train/validation gap": "generalization_gap",
    "seconds": "seconds",
    "seconds an epoch": "seconds_per_epoch",
    "parameters": "parameters",
    "multiply-adds": "multiply_adds",
}
# A study that is ranked by one of these has it in its table already.
RANKED = {"val_accuracy": "best validation accuracy", "val_loss": "best validation loss"}
# Of a configuration these are one number, whatever the seed.
CONSTANT = ("parameters", "multiply-adds")
SCORES = (
    "final train loss", "best train accuracy", "best validation loss", "final validation accuracy",
    "best validation accuracy", "test accuracy", "test loss", "train/validation gap",
)  # fmt: skip


def trial_figures(study: StudyRecords) -> pd.DataFrame:
    """The figures of every trial, those of replicates too, as numbers; what was not run last.

    Accuracies are shares, losses nats an image, `seconds` those of all epochs of the curve (as if
    none had been reused). Columns: name, status, hyperparameters, seed, epochs, the epoch of the
    best validation loss, `FIGURES`, the limits of the test loss, and why it was not run or failed.
    """
    both = pd.concat([study.trials, study.replicates]).sort_values("trial_id")
    names = hyperparameter_texts(study)
    table = pd.DataFrame({"name": both["trial_id"], "status": both["status"]})
    told = [hyperparameters_of(study.params(row), names) for _, row in both.iterrows()]
    table["hyperparameters"] = told
    table["seed"], table["epochs"] = both["seed"], both["epochs_run"]
    table["best validation loss at epoch"] = both["best_val_loss_epoch"]
    for name, column in FIGURES.items():
        table[name] = both[column]
        if name == "test loss":
            for end in ("low", "high"):
                table[f"test loss, {end}"] = both["trial_id"].map(_limits_of_loss(study, end))
    table["why"] = both["error"]
    missing = [
        {
            "name": "-",
            "status": NOT_RUN,
            "hyperparameters": hyperparameters_of(one["params"], names),
            "why": one["reason"],
        }
        for one in study.not_run
    ]
    if missing:
        table = pd.concat([table, pd.DataFrame(missing).astype(object)])
    return table.reset_index(drop=True)


def reports_table(study: StudyRecords) -> pd.DataFrame:
    """`trial_figures` for a reader: one row a trial, texts, without columns that hold nothing.

    The best validation loss is written as "28/50 (0.2404)": its epoch, the length, its value.
    """
    found = trial_figures(study)
    at = found["best validation loss at epoch"]
    table = pd.DataFrame({"name": found["name"], "hyperparameters": found["hyperparameters"]})
    table["status"] = found["status"]
    table["final train loss"] = _numbers(found["final train loss"], 4)
    table["best train accuracy"] = _numbers(found["best train accuracy"], 4)
    table["best validation loss"] = [
        "-" if pd.isna(epoch) else f"{epoch:.0f}/{length:.0f} ({loss:.4f})"
        for epoch, length, loss in zip(
            at, found["epochs"], found["best validation loss"], strict=True
        )
    ]
    for name in ("final validation accuracy", "best validation accuracy"):
        table[name] = _numbers(found[name], 4)
    for name in ("test accuracy", "test loss"):
        table[f"{name} (95 % interval)"] = _intervals(found, name)
    table["train/validation gap"] = _numbers(found["train/validation gap"], 4)
    table["time"] = [format_seconds(seconds) for seconds in found["seconds"]]
    table["s an epoch"] = _numbers(found["seconds an epoch"], 2)
    for name in CONSTANT:
        table[name] = [format_count(value) for value in found[name]]
    table["why"] = found["why"].fillna("-")
    return fill_nulls(table)


def by_configuration(study: StudyRecords) -> pd.DataFrame:
    """One row a configuration: means over its seeds, with the standard deviation; the best first.

    "28/50 (0.2404 ± 0.0050)" is the mean of the best validation losses, at the epoch in the middle.
    Of the trials that ended well; those of a search and of its confirmation stand together, so it
    is meant for grids that were replicated whole, where nothing was selected.
    """
    both = pd.concat([study.trials, study.replicates])
    ended = both[both["status"].isin(["completed", "stopped_early"])].sort_values("trial_id")
    names = hyperparameter_texts(study)
    rows = []
    for _, group in ended.groupby("config_id", sort=False):
        first = group.iloc[0]
        row: dict[str, Any] = {
            "configuration": first["trial_id"],
            "hyperparameters": hyperparameters_of(study.params(first), names),
            "seeds": str(len(group)),
            study.metric: group["score"].mean(),
        }
        row |= {name: mean_and_spread(group[FIGURES[name]]) for name in SCORES}
        epoch, length = group["best_val_loss_epoch"].median(), group["epochs_run"].median()
        if pd.notna(epoch):
            row["best validation loss"] = (
                f"{epoch:.0f}/{length:.0f} ({row['best validation loss']})"
            )
        row["time"] = format_seconds(group["seconds"].mean())
        row["s an epoch"] = f"{group['seconds_per_epoch'].mean():.2f}"
        row |= {name: format_count(first[FIGURES[name]]) for name in CONSTANT}
        rows.append(row)
    rows.sort(key=lambda row: row[study.metric], reverse=not study.ascending)
    for row in rows:
        score = row.pop(study.metric)
        if study.metric not in RANKED:
            row[metric_name(study.metric)] = f"{score:.4f}"
    there = set(ended["config_id"])
    for _, group in both[~both["config_id"].isin(there)].groupby("config_id", sort=False):
        first = group.iloc[0]
        rows.append(
            {
                "configuration": first["trial_id"],
                "hyperparameters": hyperparameters_of(study.params(first), names),
                "seeds": f"0 ({first['status'].replace('_', ' ')})",
            }
        )
    rows += [
        {
            "configuration": NOT_RUN,
            "hyperparameters": hyperparameters_of(one["params"], names),
        }
        for one in study.not_run
    ]
    return fill_nulls(pd.DataFrame(rows).fillna("-"))


def hyperparameter_texts(study: StudyRecords) -> list[str]:
    """The hyperparameters that tell rows apart, of what was run and of what was not."""
    missing = [one["params"] for one in study.not_run]
    found = list(study.searched)
    for name in hyperparameter_names():
        column = study.trials.get(PARAMS + name, pd.Series(dtype=object))
        values = {*column.dropna(), *(params[name] for params in missing if name in params)}
        if name not in found and len(values) > 1:
            found.append(name)
    return sorted(found, key=hyperparameter_names().index)


def hyperparameters_of(params: Mapping[str, Any], names: Sequence[str]) -> str:
    """What was searched, of one row: "lr 0.001, depth 4"."""
    shown = [f"{name} {format_value(params[name])}" for name in names if name in params]
    return ", ".join(shown) or "the only configuration"


def configuration(study: StudyRecords, row: pd.Series) -> str:
    """A trial's hyperparameters, of those that varied."""
    return hyperparameters_of(study.params(row), study.searched)


def mean_and_spread(values: pd.Series, digits: int = 4) -> str:
    """The mean with the standard deviation over seeds, where there are two; "-" without a value."""
    values = values.dropna()
    if values.empty:
        return "-"
    spread = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{spread}"


def format_seconds(seconds: float) -> str:
    """Minutes and seconds, as "16:15"; "-" for what is missing."""
    if pd.isna(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def format_count(number: float) -> str:
    """A count with three digits and its unit, as "25.6 M"."""
    if pd.isna(number):
        return "-"
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= 0.9995 * size:  # what rounds to 1000 of a unit is 1 of the next
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def _limits_of_loss(study: StudyRecords, end: str) -> Mapping[str, float]:
    found = study.evaluations
    wanted = found[(found["split"] == "test") & (found["metric"] == "loss")]
    return dict(zip(wanted["trial"], wanted[end], strict=True))


def _numbers(values: pd.Series, digits: int) -> list[str]:
    return ["-" if pd.isna(value) else f"{value:.{digits}f}" for value in values]


def _intervals(table: pd.DataFrame, name: str) -> list[str]:
    columns = (table[name], table[f"{name}, low"], table[f"{name}, high"])
    return [format_interval(*row) for row in zip(*columns, strict=True)]


def format_interval(value: float, low: float, high: float) -> str:
    """ "0.935 (0.910 to 0.955)"; "-" for what is missing."""
    if pd.isna(value):
        return "-"
    return f"{value:.3f}" if pd.isna(low) else f"{value:.3f} ({low:.3f} to {high:.3f})"


def format_estimate(row: pd.Series, column: str) -> str:
    """A metric of a trial's row, with the interval of `column`_low and _high where it has one."""
    return format_interval(*(row[column + end] for end in ("", "_low", "_high")))


def fill_nulls(table: pd.DataFrame) -> pd.DataFrame:
    """A table of texts without the columns that hold nothing; one without rows as it is."""
    if table.empty:
        return table
    return table.loc[:, (table != "-").any()]
