"""The results table of a report, generated: one row per trial or one per configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tune_bio.analysis.study_records import PARAMS, StudyRecords
from tune_bio.common.labels import metric_name
from tune_bio.space.trial_config import format_value, hyperparameter_names

NOT_RUN = "not run"
# Columns of trials.parquet by the names that they have in a report.
MEASURES = {
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
# Ranking metrics that the table contains in any case, with their names in it.
RANKED = {"val_accuracy": "best validation accuracy", "val_loss": "best validation loss"}
# Measures of a configuration that do not depend on the seed.
CONSTANT = ("parameters", "multiply-adds")
SCORES = (
    "final train loss", "best train accuracy", "best validation loss", "final validation accuracy",
    "best validation accuracy", "test accuracy", "test loss", "train/validation gap",
)  # fmt: skip


def trial_measures(study: StudyRecords) -> pd.DataFrame:
    """Tabulate the measures of every trial, including replicates, as numbers.

    Accuracies are fractions, losses are in nats per image, and `seconds` covers all epochs of the
    curve (as if none had been reused). Columns: name, status, hyperparameters, seed, epochs, the
    epoch of the best validation loss, `MEASURES`, the limits of the test loss, and the reason if
    the trial failed or was not run. Configurations that were not run come last.
    """
    trials = pd.concat([study.trials, study.replicates]).sort_values("trial_id")
    names = distinguishing_hyperparameters(study)
    table = pd.DataFrame({"name": trials["trial_id"], "status": trials["status"]})
    descriptions = [
        describe_hyperparameters(study.params(row), names) for _, row in trials.iterrows()
    ]
    table["hyperparameters"] = descriptions
    table["seed"], table["epochs"] = trials["seed"], trials["epochs_run"]
    table["best validation loss at epoch"] = trials["best_val_loss_epoch"]
    for name, column in MEASURES.items():
        table[name] = trials[column]
        if name == "test loss":
            for end in ("low", "high"):
                table[f"test loss, {end}"] = trials["trial_id"].map(_limits_of_loss(study, end))
    table["why"] = trials["error"]
    missing = [
        {
            "name": "-",
            "status": NOT_RUN,
            "hyperparameters": describe_hyperparameters(entry["params"], names),
            "why": entry["reason"],
        }
        for entry in study.not_run
    ]
    if missing:
        table = pd.concat([table, pd.DataFrame(missing).astype(object)])
    return table.reset_index(drop=True)


def report_table(study: StudyRecords) -> pd.DataFrame:
    """Format `trial_measures` for a reader: one row per trial, without empty columns.

    The best validation loss is written as "28/50 (0.2404)": its epoch, the length, its value.
    """
    measures = trial_measures(study)
    at = measures["best validation loss at epoch"]
    table = pd.DataFrame({"name": measures["name"], "hyperparameters": measures["hyperparameters"]})
    table["status"] = measures["status"]
    table["final train loss"] = _numbers(measures["final train loss"], 4)
    table["best train accuracy"] = _numbers(measures["best train accuracy"], 4)
    table["best validation loss"] = [
        "-" if pd.isna(epoch) else f"{epoch:.0f}/{length:.0f} ({loss:.4f})"
        for epoch, length, loss in zip(
            at, measures["epochs"], measures["best validation loss"], strict=True
        )
    ]
    for name in ("final validation accuracy", "best validation accuracy"):
        table[name] = _numbers(measures[name], 4)
    for name in ("test accuracy", "test loss"):
        table[f"{name} (95 % interval)"] = _intervals(measures, name)
    table["train/validation gap"] = _numbers(measures["train/validation gap"], 4)
    table["time"] = [format_seconds(seconds) for seconds in measures["seconds"]]
    table["s per epoch"] = _numbers(measures["seconds an epoch"], 2)
    for name in CONSTANT:
        table[name] = [format_count(value) for value in measures[name]]
    table["why"] = measures["why"].fillna("-")
    return drop_empty_columns(table)


def by_configuration(study: StudyRecords) -> pd.DataFrame:
    """Tabulate configurations: means over seeds ± standard deviation, the best first.

    "28/50 (0.2404 ± 0.0050)" is the mean of the best validation losses, with their median epoch.
    Only trials that finished count. Trials of a search and of its confirmation are pooled, so the
    table suits grids of which every configuration was replicated, where nothing was selected.
    """
    trials = pd.concat([study.trials, study.replicates])
    finished = trials[trials["status"].isin(["completed", "stopped_early"])].sort_values("trial_id")
    names = distinguishing_hyperparameters(study)
    rows = []
    for _, group in finished.groupby("config_id", sort=False):
        first = group.iloc[0]
        row: dict[str, Any] = {
            "configuration": first["trial_id"],
            "hyperparameters": describe_hyperparameters(study.params(first), names),
            "seeds": str(len(group)),
            study.metric: group["score"].mean(),
        }
        row |= {name: mean_and_spread(group[MEASURES[name]]) for name in SCORES}
        epoch, length = group["best_val_loss_epoch"].median(), group["epochs_run"].median()
        if pd.notna(epoch):
            row["best validation loss"] = (
                f"{epoch:.0f}/{length:.0f} ({row['best validation loss']})"
            )
        row["time"] = format_seconds(group["seconds"].mean())
        row["s per epoch"] = f"{group['seconds_per_epoch'].mean():.2f}"
        row |= {name: format_count(first[MEASURES[name]]) for name in CONSTANT}
        rows.append(row)
    rows.sort(key=lambda row: row[study.metric], reverse=not study.ascending)
    for row in rows:
        score = row.pop(study.metric)
        if study.metric not in RANKED:
            row[metric_name(study.metric)] = f"{score:.4f}"
    tabulated = set(finished["config_id"])
    for _, group in trials[~trials["config_id"].isin(tabulated)].groupby("config_id", sort=False):
        first = group.iloc[0]
        rows.append(
            {
                "configuration": first["trial_id"],
                "hyperparameters": describe_hyperparameters(study.params(first), names),
                "seeds": f"0 ({first['status'].replace('_', ' ')})",
            }
        )
    rows += [
        {
            "configuration": NOT_RUN,
            "hyperparameters": describe_hyperparameters(entry["params"], names),
        }
        for entry in study.not_run
    ]
    return drop_empty_columns(pd.DataFrame(rows).fillna("-"))


def distinguishing_hyperparameters(study: StudyRecords) -> list[str]:
    """List the hyperparameters that differ between configurations, including those not run."""
    missing = [entry["params"] for entry in study.not_run]
    differing = list(study.searched)
    for name in hyperparameter_names():
        column = study.trials.get(PARAMS + name, pd.Series(dtype=object))
        values = {*column.dropna(), *(params[name] for params in missing if name in params)}
        if name not in differing and len(values) > 1:
            differing.append(name)
    return sorted(differing, key=hyperparameter_names().index)


def describe_hyperparameters(params: Mapping[str, Any], names: Sequence[str]) -> str:
    """Describe the hyperparameters of `names` that are active: "lr 0.001, depth 4"."""
    shown = [f"{name} {format_value(params[name])}" for name in names if name in params]
    return ", ".join(shown) or "the only configuration"


def configuration(study: StudyRecords, row: pd.Series) -> str:
    """Describe the hyperparameters of a trial that the study varied."""
    return describe_hyperparameters(study.params(row), study.searched)


def mean_and_spread(values: pd.Series, digits: int = 4) -> str:
    """Format mean and standard deviation, the latter if there are two values; "-" if none."""
    values = values.dropna()
    if values.empty:
        return "-"
    spread = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{spread}"


def format_seconds(seconds: float) -> str:
    """Format as minutes and seconds, such as "16:15"; "-" if missing."""
    if pd.isna(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def format_count(number: float) -> str:
    """Format a count with three digits and a unit prefix, such as "25.6 M"."""
    if pd.isna(number):
        return "-"
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= 0.9995 * size:  # 1000 of a unit, once rounded, is 1 of the next
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def _limits_of_loss(study: StudyRecords, end: str) -> Mapping[str, float]:
    """Return the lower or upper limit of each trial's test loss."""
    table = study.evaluations
    losses = table[(table["split"] == "test") & (table["metric"] == "loss")]
    return dict(zip(losses["trial"], losses[end], strict=True))


def _numbers(values: pd.Series, digits: int) -> list[str]:
    return ["-" if pd.isna(value) else f"{value:.{digits}f}" for value in values]


def _intervals(table: pd.DataFrame, name: str) -> list[str]:
    columns = (table[name], table[f"{name}, low"], table[f"{name}, high"])
    return [format_interval(*row) for row in zip(*columns, strict=True)]


def format_interval(value: float, low: float, high: float) -> str:
    """Format as "0.935 (0.910 to 0.955)"; "-" if missing."""
    if pd.isna(value):
        return "-"
    return f"{value:.3f}" if pd.isna(low) else f"{value:.3f} ({low:.3f} to {high:.3f})"


def format_estimate(row: pd.Series, column: str) -> str:
    """Format a metric in a trial's row with its interval, from `column`_low and _high."""
    return format_interval(*(row[column + end] for end in ("", "_low", "_high")))


def drop_empty_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Drop the columns of a table of texts that hold only "-", unless it has no rows."""
    if table.empty:
        return table
    return table.loc[:, (table != "-").any()]
