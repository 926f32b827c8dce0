"""What a study's records allow to be said: selection, noise, comparisons, effects."""

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
from tune_bio.analysis.grid_effects import as_effects, trainings
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
    """A change of the winner, and what it does on validation; None where too few seeds ended."""

    hyperparameter: str
    before: str
    after: str
    others: str
    effect: ChangeEffect | None
    lost: str


@dataclass(frozen=True)
class Conclusions:
    """Each is None, or empty, where the study does not allow it; `notes` say why."""

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
        """The manifest's entry."""
        return asdict(self)


def derive_conclusions(study: StudyRecords, predictions: pd.DataFrame) -> Conclusions:
    """Compute them from the tables; the random draws are those of the study's seed.

    Args:
        study: its tables.
        predictions: predictions.parquet.
    """
    notes: list[str] = []
    tried = partial(_tried, notes)
    selection = tried(
        "the best score is not corrected for selection", lambda: _selection(study, predictions)
    )
    counted = _counted(study)
    noise = found = None
    if not counted.empty:
        noise = tried("no noise floor", lambda: noise_floor(trainings(counted)))
        if study.whole:
            found = tried("no effects are told", lambda: as_effects(study, counted))
    splits = tried("no noise floor with re-splits", lambda: _noise_of_splits(study))
    versus = tried("models are not compared", lambda: compare_models(study, predictions))
    settings = tried(
        "settings are not compared", lambda: compare_configurations(study, predictions)
    )
    associated = None
    if not study.whole:
        associated = tried("no importances are told", lambda: _importances(study, notes))
    ablated = tried("the winner's changes are not compared with it", lambda: _ablated(study))
    effects_at, effects, more = found or ("best epoch", (), ())
    return Conclusions(
        selection,
        noise,
        splits,
        versus or (),
        settings or (),
        effects,
        effects_at,
        associated,
        ablated or (),
        (*notes, *more),
    )


def _tried(notes: list[str], otherwise: str, compute: Callable[[], T]) -> T | None:
    """What can be computed; else None, and a note on what there is not, and why.

    Each conclusion by itself: what a study cannot tell of one thing says nothing of the others.
    """
    try:
        return compute()
    except StatisticsError as error:
        notes.append(f"{otherwise}: {error}")
        return None


def _selection(study: StudyRecords, predictions: pd.DataFrame) -> Selection | None:
    """The best trial of the search, on other patients than those on which it was chosen."""
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
    """Each change of the winner against the winner, under the same seeds."""
    if study.ablation is None:
        return ()
    changes = study.ablation["changes"]
    tested = [change for change in changes if len(change["scores"]) > 1]
    effects_of = ablation(
        list(study.ablation["scores"].values()),
        [list(change["scores"].values()) for change in tested],
        lower_is_better=study.ascending,
        seed=study.seed,
    )
    found = {id(change): effect for change, effect in zip(tested, effects_of, strict=True)}
    return tuple(
        Ablated(
            change["hyperparameter"],
            format_value(change["before"]),
            format_value(change["after"]),
            change["others"],
            found.get(id(change)),
            ", ".join(f"{trial} {status}" for trial, status in change["lost"].items()),
        )
        for change in changes
    )


def _noise_of_splits(study: StudyRecords) -> NoiseFloor | None:
    """The noise floor under fresh seeds and new splits, pooled over the finalists."""
    if study.resplits is None:
        return None
    rows = [
        {"config_id": one["config_id"], "score": value}
        for one in study.resplits["finalists"]
        for value in one["scores"].values()
    ]
    return noise_floor(pd.DataFrame(rows, columns=["config_id", "score"]))


def _importances(study: StudyRecords, notes: list[str]) -> Importances | None:
    """What goes with good scores in a search, at the last epoch that enough trials reached.

    A trial that diverged before counts as the worst. Lengths are left out: at one epoch for all
    they have had no say yet.
    """
    metric = study.metric
    epochs = study.epochs[study.epochs["trial_id"].isin(study.trials["trial_id"])]
    epoch = common_epoch(epochs, metric)
    names = [name for name in study.searched if name not in LENGTHS]
    if epoch is None or not names:
        return None
    there = epochs[epochs["epoch"] == epoch].set_index("trial_id")[metric]
    scores = study.trials["trial_id"].map(there)
    diverged = (study.trials["status"] == "diverged") & (study.trials["epochs_run"] <= epoch)
    scores = scores.mask(scores.isna() & diverged, WORST[METRIC_MODES[metric]])
    columns = {name: study.trials[PARAMS + name] for name in names}
    compared = pd.DataFrame({**columns, "score": scores})
    if _at_several_stages(study.trials[scores.notna()]):
        notes.append(
            f"trials under schedules that depend on their length stood at epoch {epoch} at "
            "different stages of these: what is associated with their scores there is to be read "
            "with care"
        )
    return importances(
        compared,
        names,
        epoch=epoch,
        censored=int(scores.isna().sum()),
        lower_is_better=study.ascending,
        seed=study.seed,
    )


def _at_several_stages(trials: pd.DataFrame) -> bool:
    bound = trials[trials[PARAMS + "lr_schedule"].isin(LENGTH_BOUND_SCHEDULES)]
    return bool(bound[PARAMS + "epochs"].nunique() > 1)


def _counted(study: StudyRecords) -> pd.DataFrame:
    """The replicates that count, with `score` and `last`, the metric at the best and last epoch."""
    both = pd.concat([study.trials, study.replicates]) if study.whole else study.replicates
    wanted = [trial for one in study.confirmed for trial in one["scores"]]
    counted = both[both["trial_id"].isin(wanted)]
    last = study.epochs.sort_values("epoch").groupby("trial_id")[study.metric].last()
    return counted.assign(last=counted["trial_id"].map(last)).reset_index(drop=True)
