"""What a study's records allow to be said: selection, noise, comparisons, effects."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tune_bio.analysis.report_table import hyperparameters_of
from tune_bio.analysis.statistics import (
    Comparison,
    Effect,
    NoiseFloor,
    Selection,
    compare,
    corrected_selection,
    effects,
    holm,
    noise_floor,
)
from tune_bio.analysis.study_records import PARAMS, StudyRecords
from tune_bio.errors import AliasError, StatisticsError

# At which epoch they are judged, the effects, and what is to be said of them.
Effects = tuple[str, tuple[Effect, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Versus:
    """The winner against another finalist on the test set; `p_value` corrected by Holm."""

    winner: str
    other: str
    comparison: Comparison
    p_value: float


@dataclass(frozen=True)
class Conclusions:
    """Each is None, or empty, where the study does not allow it; `notes` say why."""

    selection: Selection | None
    noise: NoiseFloor | None
    versus: tuple[Versus, ...]
    effects: tuple[Effect, ...]
    effects_at: str
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The manifest's entry."""
        return asdict(self)


def draw_conclusions(study: StudyRecords, predictions: pd.DataFrame) -> Conclusions:
    """Compute them from the tables; the random draws are those of the study's seed.

    Args:
        study: its tables.
        predictions: predictions.parquet.
    """
    notes: list[str] = []
    selection = noise = None
    versus: tuple[Versus, ...] = ()
    found: tuple[Effect, ...] = ()
    effects_at = "best epoch"
    try:
        selection = _selection(study, predictions)
    except StatisticsError as error:
        notes.append(f"the best score is not corrected for selection: {error}")
    counted = _counted(study)
    if not counted.empty:
        try:
            noise = noise_floor(counted)
            versus = _versus(study, predictions)
            if study.whole:
                effects_at, found, told = _effects(study, counted)
                notes += told
        except StatisticsError as error:
            notes.append(str(error))
    return Conclusions(selection, noise, versus, found, effects_at, tuple(notes))


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
        np.stack([_probabilities(group) for group in by_trial]),
        first["patient"].to_numpy(),
        study.metric.removeprefix("val_"),
        positive=study.positive,
        patients_known=study.patients_known,
        seed=study.seed,
    )


def _versus(study: StudyRecords, predictions: pd.DataFrame) -> tuple[Versus, ...]:
    """The winner's replicate in the middle against those of the other finalists, on test."""
    medians = [one["median"] for one in study.confirmed]
    tested = predictions[predictions["split"] == "test"]
    on_test = {str(trial): rows for trial, rows in tested.groupby("trial") if trial in set(medians)}
    if len(on_test) < 2 or study.whole:
        return ()
    winner, *others = medians
    rows = on_test[winner]
    comparisons = [
        compare(
            rows["label"].to_numpy(),
            _probabilities(rows),
            _probabilities(on_test[other]),
            rows["patient"].to_numpy(),
            study.metric.removeprefix("val_"),
            positive=study.positive,
            patients_known=study.patients_known,
            seed=study.seed,
        )
        for other in others
    ]
    corrected = holm([each.p_value for each in comparisons])
    return tuple(
        Versus(winner, other, each, p)
        for other, each, p in zip(others, comparisons, corrected, strict=True)
    )


def _effects(study: StudyRecords, counted: pd.DataFrame) -> Effects:
    """Of each hyperparameter of a grid that was replicated whole.

    Where lengths differ, at the last epoch: the best of 60 epochs beats the best of 10 by being
    the best of more. Where hyperparameters cannot be told apart, as those of networks that differ
    in several at once, whole configurations are compared instead.
    """
    at, column = ("last epoch", "last") if "epochs" in study.searched else ("best epoch", "score")
    trained = _trainings(counted)
    table = trained.rename(columns=lambda name: str(name).removeprefix(PARAMS))
    names, dropped = _independent(table, study.searched)
    if not names:  # one configuration alone
        return at, (), ()
    notes = tuple(f"{name} goes with others here, and has no effect of its own" for name in dropped)
    try:
        return at, tuple(effects(table, names, value=column)), notes
    except AliasError as error:
        told = [
            hyperparameters_of(study.params(row), study.searched) for _, row in trained.iterrows()
        ]
        found = effects(table.assign(configuration=told), ["configuration"], value=column)
        return at, tuple(found), (f"whole configurations are compared: {error.fault}",)


def _trainings(counted: pd.DataFrame) -> pd.DataFrame:
    """Each training once: of lengths that are parts of one, the longest alone.

    The others are the same epochs again, and would make the noise look smaller than it is.
    """
    if "reused_from" not in counted:
        return counted
    return counted[~counted["trial_id"].isin(counted["reused_from"].dropna())]


def _independent(table: pd.DataFrame, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The hyperparameters that trainings differ in, and of these, apart, what the others determine.

    As a learning rate that goes with what is frozen: it is part of that. Of two that determine each
    other the first is kept.
    """
    kept = [name for name in names if table[name].nunique(dropna=False) > 1]
    dropped = []
    for name in reversed(kept.copy()):
        others = [other for other in kept if other != name]
        if others and table.groupby(others, dropna=False)[name].nunique(dropna=False).max() == 1:
            kept.remove(name)
            dropped.append(name)
    return kept, dropped


def _counted(study: StudyRecords) -> pd.DataFrame:
    """The replicates that count, with `score` and `last`, the metric at the best and last epoch."""
    both = pd.concat([study.trials, study.replicates]) if study.whole else study.replicates
    wanted = [trial for one in study.confirmed for trial in one["scores"]]
    counted = both[both["trial_id"].isin(wanted)]
    last = study.epochs.sort_values("epoch").groupby("trial_id")[study.metric].last()
    return counted.assign(last=counted["trial_id"].map(last)).reset_index(drop=True)


def _probabilities(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    columns = [name for name in rows.columns if str(name).startswith("p_")]
    stored = rows[columns].to_numpy(np.float64)  # of float32, whose rounding shows in the sum
    found: npt.NDArray[np.float64] = stored / stored.sum(axis=1, keepdims=True)
    return found
