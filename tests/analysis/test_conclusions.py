"""Conclusions derived from a study's records, and their wording."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tune_bio.analysis.conclusions import derive_conclusions
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.analysis.summary.ablation_table import ablation_table
from tune_bio.analysis.summary.conclusions_text import conclusions_text

PATIENTS = 120


def _study(
    scores: dict[str, float], *, settings: dict[str, Any], listed: int | None, **params: list[Any]
) -> StudyRecords:
    """Make a study of trials (t0000, t0000r1, ...) with two epochs each, the second worse."""
    trials = pd.DataFrame({"trial_id": list(scores), "score": list(scores.values())})
    base = trials["trial_id"].str.partition("r")
    trials["replicate"] = pd.to_numeric(base[2]).fillna(0).astype(int)
    trials["config_id"] = base[0]
    trials["status"], trials["epochs_run"] = "completed", 2
    for name, values in params.items():
        trials[f"params.{name}"] = [values[int(trial[1:])] for trial in base[0]]
    epochs = pd.DataFrame(
        [
            {"trial_id": trial, "epoch": epoch, "val_auroc": score - drop}
            for trial, score in scores.items()
            for epoch, drop in ((1, 0.0), (2, 0.1))
        ]
    )
    confirmed = []
    for config, group in trials.groupby("config_id"):
        counted = group if listed else group[group["replicate"] > 0]
        of_replicates = dict(zip(counted["trial_id"], counted["score"], strict=True))
        if of_replicates:
            median = list(of_replicates)[(len(of_replicates) - 1) // 2]
            confirmed.append({"trial": config, "scores": of_replicates, "median": median})
    manifest = {
        "settings": {"metric": "val_auroc", "seed": 0, **settings},
        "space": {"listed": listed},
        "data": {"classes": ["a", "b"], "positive_class": "b", "patients_known": True},
        "confirmed": sorted(confirmed, key=lambda entry: -np.mean(list(entry["scores"].values()))),
    }
    in_search = trials["replicate"] == 0
    return StudyRecords(
        trials[in_search].copy(), trials[~in_search].copy(), epochs, pd.DataFrame(), manifest
    )


def _predictions(skill: dict[str, float], split: str) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    labels = np.arange(PATIENTS) % 2
    tables = []
    for trial, strength in skill.items():
        p = 1 / (1 + np.exp(-(strength * (2 * labels - 1) + rng.normal(size=PATIENTS))))
        rows = pd.DataFrame({"p_a": 1 - p, "p_b": p}, dtype=np.float32)
        names = [f"i{k}" for k in range(PATIENTS)]
        described = {"trial": trial, "split": split, "image": names, "patient": names}
        tables.append(rows.assign(**described, label=labels))
    return pd.concat(tables, ignore_index=True)


def test_the_best_of_many_equal_trials_is_corrected_downwards() -> None:
    names = [f"t{k:04d}" for k in range(30)]
    study = _study(dict.fromkeys(names, 0.7), settings={"finalists": 0}, listed=None)
    conclusions = derive_conclusions(study, _predictions(dict.fromkeys(names, 0.3), "val"))
    assert conclusions.selection is not None
    assert conclusions.selection.optimism > 0.02
    assert conclusions.noise is None
    assert conclusions.versus == conclusions.effects == ()
    (sentence,) = conclusions_text(conclusions, "val_auroc")
    assert f"optimism of +{conclusions.selection.optimism:.4f}" in sentence


def test_finalists_are_compared_on_test_and_their_seeds_are_the_noise_floor() -> None:
    scores = {"t0000": 0.9, "t0001": 0.8, "t0002": 0.8}
    scores |= {"t0000r1": 0.91, "t0000r2": 0.89, "t0001r1": 0.8, "t0001r2": 0.82}
    study = _study(scores, settings={"finalists": 2}, listed=None)
    better = _predictions({"t0000r1": 2.0, "t0001r1": 0.2}, "test")
    conclusions = derive_conclusions(study, better)
    assert conclusions.noise is not None
    assert conclusions.noise.sd == pytest.approx(0.01 * 2**0.5)
    assert conclusions.noise.degrees_of_freedom == 2
    (versus,) = conclusions.versus
    assert (versus.winner, versus.other) == ("t0000r1", "t0001r1")
    assert versus.p_value < 0.01
    assert versus.comparison.low > 0
    equal = derive_conclusions(study, _predictions({"t0000r1": 1.0, "t0001r1": 1.0}, "test"))
    assert equal.versus[0].p_value > 0.05
    assert any(
        "cannot be distinguished on the test set" in line for line in conclusions_text(equal, "m")
    )
    assert equal.settings == ()  # only one replicate of each has predictions


def test_a_better_model_is_not_a_better_configuration_if_seeds_differ_as_much() -> None:
    scores = {f"t000{k}": 0.9 - 0.1 * k for k in range(3)}
    scores |= {f"t000{k}r{r}": 0.9 - 0.1 * k for k in range(3) for r in (1, 2, 3)}
    study = _study(scores, settings={"finalists": 3}, listed=None)
    skill = {f"t0000r{r}": s for r, s in ((1, 0.1), (2, 2.5), (3, 1.0))}  # seeds differ much
    skill |= {f"t0001r{r}": 0.3 for r in (1, 2, 3)} | {f"t0002r{r}": -2.0 for r in (1, 2, 3)}
    conclusions = derive_conclusions(study, _predictions(skill, "test"))
    model, _ = conclusions.versus  # the median replicates
    assert (model.winner, model.other) == ("t0000r2", "t0001r2")
    assert model.p_value < 0.05
    configuration, much_worse = conclusions.settings
    assert (configuration.winner, configuration.other) == ("t0000", "t0001")
    assert configuration.p_value > 0.05
    assert configuration.difference.low < 0 < configuration.difference.high
    assert configuration.difference.difference == pytest.approx(
        configuration.mean.value - configuration.mean_of_other.value
    )
    assert much_worse.p_value < 0.05
    text = "\n".join(conclusions_text(conclusions, "val_auroc"))
    assert "**As trained models, t0000r2 and t0001r2 differ on the test set** (inference" in text
    assert "**As configurations, t0000 and t0001 cannot be distinguished on the test set**" in text


def test_a_grid_separates_effects_from_noise_and_compares_lengths_at_the_last_epoch() -> None:
    rng = np.random.default_rng(0)
    cells = [(lr, epochs) for lr in (0.1, 0.01) for epochs in (2, 4)]
    scores = {}
    for k, (lr, _) in enumerate(cells):
        for replicate in range(4):
            name = f"t{k:04d}" + (f"r{replicate}" if replicate else "")
            scores[name] = (0.7 if lr == 0.1 else 0.8) + 0.005 * rng.normal()
    grid = {"lr": [c[0] for c in cells], "epochs": [c[1] for c in cells]}
    study = _study(scores, settings={"finalists": "all"}, listed=4, **grid)
    conclusions = derive_conclusions(study, NO_PREDICTIONS)
    assert conclusions.effects_at == "last epoch"
    effects = {effect.hyperparameter: effect for effect in conclusions.effects}
    assert effects["lr"].verdict == "matters"
    assert effects["lr"].means["0.01"] == pytest.approx(0.7, abs=0.01)  # 0.1 lower than the best
    assert effects["epochs"].verdict != "matters"
    assert conclusions.versus == ()  # nothing was selected


def _grid(cells: list[dict[str, Any]], means: list[float], reused: dict[str, str]) -> StudyRecords:
    """Make a grid under three seeds; `reused` maps trials to those whose epochs they reuse."""
    rng = np.random.default_rng(1)
    scores = {}
    for k, mean in enumerate(means):
        for replicate in range(3):
            name = f"t{k:04d}" + (f"r{replicate}" if replicate else "")
            scores[name] = mean + 0.005 * rng.normal()
    params = {name: [cell.get(name) for cell in cells] for name in cells[0]}
    study = _study(scores, settings={"finalists": "all"}, listed=len(cells), **params)
    for table in (study.trials, study.replicates):
        table["reused_from"] = table["trial_id"].map(reused)
    return study


NO_PREDICTIONS = pd.DataFrame({"trial": [], "split": []})


def test_lengths_of_one_training_count_once() -> None:
    cells = [
        {"lr_schedule": schedule, "epochs": epochs}
        for schedule in ("cosine", "step") for epochs in (10, 20, 30)
    ]  # fmt: skip
    whole = _grid(cells, [0.7, 0.7, 0.8, 0.7, 0.7, 0.8], {})
    # Under the step schedule, each length continues the next shorter one.
    chain = {f"t000{k}{r}": f"t000{k - 1}{r}" for k in (4, 5) for r in ("", "r1", "r2")}
    shared = _grid(cells, [0.7, 0.7, 0.8, 0.7, 0.7, 0.8], chain)
    by_name = {}
    for study in (whole, shared):
        conclusions = derive_conclusions(study, NO_PREDICTIONS)
        by_name[len(by_name)] = {effect.hyperparameter: effect for effect in conclusions.effects}
        assert conclusions.noise is not None
        assert conclusions.noise.degrees_of_freedom == (12 if study is whole else 8)
    # Six cells under three seeds have 12 degrees of freedom; four trainings have 8.
    assert by_name[0]["epochs"].degrees_of_freedom == (2, 12)
    assert by_name[1]["epochs"].degrees_of_freedom == (2, 8)
    assert by_name[1]["epochs"].verdict == "matters"
    assert by_name[1]["lr_schedule"].verdict != "matters"


def test_a_length_that_another_hyperparameter_determines_has_no_separate_effect() -> None:
    cells = [
        {"freeze": "none", "epochs": 20}, {"freeze": "none", "epochs": 30},
        {"freeze": "backbone", "epochs": 50}, {"freeze": "backbone", "epochs": 60},
    ]  # fmt: skip
    chain = {f"t000{k}{r}": f"t000{k - 1}{r}" for k in (1, 3) for r in ("", "r1", "r2")}
    conclusions = derive_conclusions(_grid(cells, [0.7, 0.7, 0.9, 0.9], chain), NO_PREDICTIONS)
    assert [effect.hyperparameter for effect in conclusions.effects] == ["freeze"]
    assert conclusions.effects[0].verdict == "matters"
    assert conclusions.notes[-1].startswith("epochs varies only together with others")


def test_inseparable_effects_lead_to_a_comparison_of_whole_configurations() -> None:
    cells = [
        {"model": "ann", "width": "512-256", "dropout": 0.9},
        {"model": "cnn", "width": "32-32", "dropout": 0.0},
        {"model": "cnn", "width": "32-32", "dropout": 0.6},
        {"model": "gap", "width": "32-32", "dropout": 0.0},
        {"model": "gap", "width": "32-64", "dropout": 0.0},
    ]
    conclusions = derive_conclusions(_grid(cells, [0.7, 0.8, 0.8, 0.7, 0.7], {}), NO_PREDICTIONS)
    (effect,) = conclusions.effects
    assert effect.hyperparameter == "configuration"
    assert len(effect.means) == 5
    assert "model cnn, width 32-32, dropout 0.6" in effect.means
    assert "Whole configurations are compared" in conclusions.notes[-1]


def test_a_search_of_fifty_trials_yields_associations_with_good_scores() -> None:
    rng = np.random.default_rng(0)
    lrs = list(10 ** rng.uniform(-5, -1, 54))
    names = [f"t{k:04d}" for k in range(54)]
    scores = {n: 0.8 - 0.05 * (np.log10(lr) + 3) ** 2 for n, lr in zip(names, lrs, strict=True)}
    lengths = [2, 4] * 27
    schedules = ["cosine"] * 54
    study = _study(
        scores, settings={"finalists": 0}, listed=None,
        lr=lrs, epochs=lengths, lr_schedule=schedules, noise=list(rng.random(54)),
    )  # fmt: skip
    # Three trials were stopped at the first epoch, and one diverged there.
    late = (study.epochs["epoch"] == 2) & study.epochs["trial_id"].isin(names[:4])
    study = replace(study, epochs=study.epochs[~late])
    study.trials.loc[study.trials["trial_id"] == names[3], ["status", "epochs_run"]] = "diverged", 1
    conclusions = derive_conclusions(study, NO_PREDICTIONS)
    assert conclusions.importances is not None
    assert (conclusions.importances.epoch, conclusions.importances.trials) == (2, 51)
    assert conclusions.importances.censored == 3
    first, second = conclusions.importances.associations  # the length is left out
    assert (first.hyperparameter, second.hyperparameter) == ("lr", "noise")
    lines = conclusions_text(conclusions, "val_auroc")
    (sentence,) = [line for line in lines if "Associated" in line]
    assert "at epoch 2 (51 trials; 3 others did not reach it): lr (" in sentence
    assert "not causal effects" in sentence
    assert "different stages" in conclusions.notes[-1]
    few = replace(study, trials=study.trials.head(49))
    assert derive_conclusions(few, NO_PREDICTIONS).importances is None


def test_changes_of_the_winner_are_reported_with_their_lost_trials() -> None:
    scores = {"t0000": 0.9, "t0000r1": 0.91, "t0000r2": 0.9, "t0000r3": 0.89}
    study = _study(scores, settings={"finalists": 1}, listed=None, lr=[0.1])
    changes = [
        ("lr", 0.1, 1 / 30, "", {"a": 0.80, "b": 0.81, "c": 0.79}, {}),
        ("lr", 0.1, 0.3, "", {}, {"t0000a2r1": "diverged", "t0000a2r2": "failed"}),
        ("optimizer", "adam", "sgd", "momentum=0.9", {"a": 0.90, "b": 0.91, "c": 0.90}, {}),
    ]
    keys = ("hyperparameter", "before", "after", "others", "scores", "lost")
    study.manifest["ablation"] = {
        "winner": "t0000",
        "scores": study.confirmed[0]["scores"],
        "changes": [dict(zip(keys, change, strict=True)) for change in changes],
    }
    conclusions = derive_conclusions(study, NO_PREDICTIONS)
    verdicts = [
        change.effect.verdict if change.effect else change.lost for change in conclusions.ablated
    ]
    lost = "t0000a2r1 diverged, t0000a2r2 failed"
    assert verdicts == ["worse", lost, "cannot be distinguished"]
    lines = conclusions_text(conclusions, "val_auroc")
    (sentence,) = [line for line in lines if "Ablation" in line]
    assert "worse with lr 0.1 → 0.0333 (-0.1000); 1 of 2 changes cannot be dist" in sentence
    rows = [line.split(" | ") for line in ablation_table(study, conclusions).splitlines()[-3:]]
    assert [row[0] for row in rows] == [
        "| lr 0.1 → 0.0333", "| optimizer adam → sgd (with momentum=0.9)", "| lr 0.1 → 0.3"
    ]  # fmt: skip
    assert [row[-1].removesuffix(" |") for row in rows] == [
        "worse", "cannot be distinguished", lost
    ]  # fmt: skip
    assert rows[0][2].startswith("-0.1000 (")


def test_one_unavailable_conclusion_does_not_affect_the_others() -> None:
    scores = {f"t000{k}{r}": 0.9 - 0.01 * k for k in (0, 1) for r in ("", "r1")}
    study = _study(scores, settings={"finalists": 2}, listed=None, lr=[0.1, 0.01])
    study.manifest["resplits"] = {"splits": [{}, {}], "finalists": []}
    predictions = _predictions({"t0000r1": 2.0, "t0001r1": 0.1}, "test")
    conclusions = derive_conclusions(study, predictions)
    assert conclusions.noise is conclusions.noise_of_splits is None
    assert [models.winner for models in conclusions.versus] == ["t0000r1"]  # one seed suffices
    notes = [note.partition(":")[0] for note in conclusions.notes]
    assert notes == [
        "The noise floor is unavailable", "The noise floor with re-splits is unavailable"
    ]  # fmt: skip


def test_a_choice_whose_trials_all_failed_is_noted() -> None:
    scores = {f"t{k:04d}": 0.8 + 0.001 * (k % 7) for k in range(120)}
    freeze = ["backbone"] * 60 + ["none"] * 60
    study = _study(
        scores, settings={"finalists": 0}, listed=None,
        freeze=freeze, epochs=[2] * 120, lr_schedule=["step"] * 120,
    )  # fmt: skip
    failed = study.trials["trial_id"] >= "t0060"
    study.trials.loc[failed, "status"] = "failed"
    study = replace(study, epochs=study.epochs[study.epochs["trial_id"] < "t0060"])
    conclusions = derive_conclusions(study, NO_PREDICTIONS)
    assert conclusions.importances is None
    assert conclusions.notes[-1].startswith("The importances of hyperparameters are unavailable: ")


def test_the_effect_of_a_hyperparameter_is_not_lost_to_one_that_depends_on_it() -> None:
    """Only the weights matter here, not `freeze`, which is active only with weights."""
    cells = [
        {"weights": "none", "freeze": None},
        {"weights": "imagenet", "freeze": "none"},
        {"weights": "imagenet", "freeze": "backbone"},
    ]
    conclusions = derive_conclusions(_grid(cells, [0.7, 0.9, 0.9], {}), NO_PREDICTIONS)
    assert [effect.hyperparameter for effect in conclusions.effects] == ["configuration"]
    crossed = [{**cell, "lr": lr} for cell in cells for lr in (0.1, 0.01)]
    grid = _grid(crossed, [0.7, 0.7, 0.9, 0.9, 0.9, 0.9], {})
    conclusions = derive_conclusions(grid, NO_PREDICTIONS)
    assert [effect.hyperparameter for effect in conclusions.effects] == ["freeze", "lr"]
    assert conclusions.notes[-1] == "weights is part of freeze, which is inactive under none"


def test_configurations_with_equal_descriptions_stay_separate() -> None:
    cells = [{"lr": lr, "weight_decay": 100 * lr} for lr in (0.001, 0.00100049, 0.002)]
    conclusions = derive_conclusions(_grid(cells, [0.7, 0.9, 0.7], {}), NO_PREDICTIONS)
    (effect,) = conclusions.effects
    assert [level.rpartition(" (")[2] for level in effect.means] == [
        "t0000)", "t0001)", "lr 0.002, weight_decay 0.2",
    ]  # fmt: skip
    assert effect.verdict == "matters"
