"""The conclusions that a study's records support: selection, noise, comparisons, effects."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from tune_bio.analysis.finalist_comparison import (
    ConfigurationComparison,
    ModelComparison,
    compare_configurations,
    compare_models,
)
from tune_bio.analysis.grid_effects import distinct_trainings, estimate_effects
from tune_bio.analysis.statistics import (
    ChangeEffect,
    Effect,
    Importances,
    NoiseFloor,
    Selection,
    ablation,
    common_epoch,
    corrected_selection,
    importances,
    noise_floor,
)
from tune_bio.analysis.study_records import PARAMS, StudyRecords, probabilities
from tune_bio.errors import StatisticsError
from tune_bio.space.trial_config import LENGTH_BOUND_SCHEDULES, METRIC_MODES, WORST, format_value

LENGTHS = ("epochs", "patience")
T = TypeVar("T")


@dataclass(frozen=True)
class Ablated:
    """A change to the winner and its effect on validation (None if too few seeds finished).

    `others` names the hyperparameters that had to change with it, `lost` the trials of the change
    that did not finish.
    """

    hyperparameter: str
    before: str
    after: str
    others: str
    effect: ChangeEffect | None
    lost: str


@dataclass(frozen=True)
class Conclusions:
    """Conclusions of a study, each None or empty if the study does not support it.

    `notes` give the reasons for what is missing.
    """

    selection: Selection | None
    noise: NoiseFloor | None
    noise_of_splits: NoiseFloor | None
    versus: tuple[ModelComparison, ...]
    settings: tuple[ConfigurationComparison, ...]
    effects: tuple[Effect, ...]
    effects_at: str
    importances: Importances | None
    ablated: tuple[Ablated, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the conclusions as an entry of the manifest."""
        return asdict(self)


def derive_conclusions(study: StudyRecords, predictions: pd.DataFrame) -> Conclusions:
    """Derive the conclusions from the tables; random draws use the study's seed.

    Args:
        study: the tables of the study.
        predictions: the contents of predictions.parquet.
    """
    notes: list[str] = []
    attempt = partial(_attempt, notes)
    selection = attempt(
        "The best score is not corrected for selection bias",
        lambda: _selection(study, predictions),
    )
    replicates = _counted_replicates(study)
    noise = grid_effects = None
    if not replicates.empty:
        noise = attempt(
            "The noise floor is unavailable", lambda: noise_floor(distinct_trainings(replicates))
        )
        if study.whole:
            grid_effects = attempt(
                "The effects of hyperparameters are unavailable",
                lambda: estimate_effects(study, replicates),
            )
    noise_of_splits = attempt(
        "The noise floor with re-splits is unavailable", lambda: _noise_of_splits(study)
    )
    versus = attempt("Models are not compared", lambda: compare_models(study, predictions))
    settings = attempt(
        "Configurations are not compared", lambda: compare_configurations(study, predictions)
    )
    associations = None
    if not study.whole:
        associations = attempt(
            "The importances of hyperparameters are unavailable",
            lambda: _importances(study, notes),
        )
    ablated = attempt("Changes to the winner are not compared with it", lambda: _ablated(study))
    effects_at, effects, effect_notes = grid_effects or ("best epoch", (), ())
    return Conclusions(
        selection,
        noise,
        noise_of_splits,
        versus or (),
        settings or (),
        effects,
        effects_at,
        associations,
        ablated or (),
        (*notes, *effect_notes),
    )


def _attempt(notes: list[str], otherwise: str, compute: Callable[[], T]) -> T | None:
    """Return the result of `compute`, or None and a note if the data do not allow it.

    Each conclusion is attempted separately, so that one that fails does not affect the others.
    """
    try:
        return compute()
    except StatisticsError as error:
        notes.append(f"{otherwise}: {error}")
        return None


def _selection(study: StudyRecords, predictions: pd.DataFrame) -> Selection | None:
    """Score the best trial of the search on patients that did not select it."""
    trials = list(study.ranking["trial_id"])
    rows = predictions[(predictions["split"] == "val") & predictions["trial"].isin(trials)]
    if rows["trial"].nunique() < 2:
        return None
    by_trial = [group for _, group in rows.groupby("trial", sort=True)]
    first = by_trial[0]
    return corrected_selection(
        first["label"].to_numpy(),
        np.stack([probabilities(group) for group in by_trial]),
        first["patient"].to_numpy(),
        study.metric.removeprefix("val_"),
        positive=study.positive,
        patients_known=study.patients_known,
        seed=study.seed,
    )


def _ablated(study: StudyRecords) -> tuple[Ablated, ...]:
    """Compare each change to the winner with the winner, under the same seeds."""
    if study.ablation is None:
        return ()
    changes = study.ablation["changes"]
    tested = [change for change in changes if len(change["scores"]) > 1]
    tested_effects = ablation(
        list(study.ablation["scores"].values()),
        [list(change["scores"].values()) for change in tested],
        lower_is_better=study.ascending,
        seed=study.seed,
    )
    effects = {id(change): effect for change, effect in zip(tested, tested_effects, strict=True)}
    return tuple(
        Ablated(
            change["hyperparameter"],
            format_value(change["before"]),
            format_value(change["after"]),
            change["others"],
            effects.get(id(change)),
            ", ".join(f"{trial} {status}" for trial, status in change["lost"].items()),
        )
        for change in changes
    )


def _noise_of_splits(study: StudyRecords) -> NoiseFloor | None:
    """Compute the noise floor under fresh seeds and new splits, pooled over the finalists."""
    if study.resplits is None:
        return None
    rows = [
        {"config_id": finalist["config_id"], "score": value}
        for finalist in study.resplits["finalists"]
        for value in finalist["scores"].values()
    ]
    return noise_floor(pd.DataFrame(rows, columns=["config_id", "score"]))


def _importances(study: StudyRecords, notes: list[str]) -> Importances | None:
    """Associate hyperparameters with good scores at the last epoch that enough trials reached.

    A trial that diverged earlier counts as the worst. Lengths of training are left out, because
    they have not taken effect at an epoch that is common to all trials.
    """
    metric = study.metric
    epochs = study.epochs[study.epochs["trial_id"].isin(study.trials["trial_id"])]
    epoch = common_epoch(epochs, metric)
    names = [name for name in study.searched if name not in LENGTHS]
    if epoch is None or not names:
        return None
    score_of_trial = epochs[epochs["epoch"] == epoch].set_index("trial_id")[metric]
    scores = study.trials["trial_id"].map(score_of_trial)
    diverged = (study.trials["status"] == "diverged") & (study.trials["epochs_run"] <= epoch)
    scores = scores.mask(scores.isna() & diverged, WORST[METRIC_MODES[metric]])
    columns = {name: study.trials[PARAMS + name] for name in names}
    table = pd.DataFrame({**columns, "score": scores})
    if _at_several_stages(study.trials[scores.notna()]):
        notes.append(
            "Trials whose learning-rate schedule depends on their length were at different "
            f"stages of the schedule at epoch {epoch}: interpret associations with their scores "
            "with care"
        )
    return importances(
        table,
        names,
        epoch=epoch,
        censored=int(scores.isna().sum()),
        lower_is_better=study.ascending,
        seed=study.seed,
    )


def _at_several_stages(trials: pd.DataFrame) -> bool:
    """Return True if trials under length-bound schedules have different lengths."""
    bound = trials[trials[PARAMS + "lr_schedule"].isin(LENGTH_BOUND_SCHEDULES)]
    return bool(bound[PARAMS + "epochs"].nunique() > 1)


def _counted_replicates(study: StudyRecords) -> pd.DataFrame:
    """Return the replicates that count, with the metric at the best (`score`) and `last` epoch."""
    trials = pd.concat([study.trials, study.replicates]) if study.whole else study.replicates
    trial_ids = [trial for finalist in study.confirmed for trial in finalist["scores"]]
    counted = trials[trials["trial_id"].isin(trial_ids)]
    last = study.epochs.sort_values("epoch").groupby("trial_id")[study.metric].last()
    return counted.assign(last=counted["trial_id"].map(last)).reset_index(drop=True)
