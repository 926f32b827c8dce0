"""Curves, hyperparameters, time, cost and parallel coordinates of a search's trials."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from tune_bio.analysis.figures.cost import pareto_front
from tune_bio.analysis.figures.draw_all import FIGURES
from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.statistics import Importances
from tune_bio.analysis.statistics.importance import Association

Drawn = Callable[[FigureData, str], Figure]
ByGid = Callable[[Figure, str], Any]


def test_confirmed_curves_are_means_in_the_band_of_their_seeds(
    material: FigureData, drawn: Drawn, by_gid: ByGid
) -> None:
    figure = drawn(material, "learning_curves")
    curves = material.study.epochs
    for one in material.study.confirmed:
        of_seeds = curves[curves["trial_id"].isin(one["scores"])].groupby("epoch")["val_auroc"]
        line = by_gid(figure, f"val_auroc-{one['trial']}")
        assert list(line.get_ydata()) == pytest.approx(list(of_seeds.mean()))
        band = by_gid(figure, f"band-val_auroc-{one['trial']}").get_paths()[0].vertices[:, 1]
        assert band.min() == pytest.approx(of_seeds.min().min())
        assert band.max() == pytest.approx(of_seeds.max().max())
    grey = [line for line in figure.axes[0].get_lines() if line.get_gid() is None]
    assert len(grey) == len(material.study.trials)
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "validation; band: from the lowest to the highest of 3 seeds" in told


def test_curves_of_a_bare_search_are_its_trials(
    build: Callable[..., FigureData], drawn: Drawn
) -> None:
    material = build(finalists=0, opened=False)
    curves = drawn(material, "learning_curves").axes[0].get_lines()
    assert {line.get_gid() for line in curves} == {f"val_auroc-t000{k}" for k in range(4)}


def test_curves_of_the_search_leave_out_replicates_that_nothing_counts(
    material: FigureData,
) -> None:
    study = material.study
    curves = study.epochs.copy()
    curves.loc[curves["trial_id"].str.contains("r"), "val_auroc"] = 0.999
    manifest = {**study.manifest, "confirmed": []}
    unfinished = replace(material, study=replace(study, epochs=curves, manifest=manifest))
    lines = FIGURES["learning_curves"].draw(unfinished).axes[0].get_lines()
    assert len(lines) == len(study.trials)
    assert max(np.max(np.asarray(line.get_ydata())) for line in lines) < 0.999


def test_a_panel_for_each_hyperparameter_of_the_space_that_varied(
    material: FigureData, drawn: Drawn, by_gid: ByGid
) -> None:
    figure = drawn(material, "hyperparameters")
    assert [axes.get_title("left") for axes in figure.axes if axes.axison] == ["model", "lr"]
    assert len(by_gid(figure, "model").get_offsets()) == 4
    told = {text.get_text() for text in figure.legends[0].get_texts()}
    assert told == {"completed", "stopped early", "median"}


def test_a_grid_replicated_whole_shows_every_seed_against_its_hyperparameters(
    build: Callable[..., FigureData], drawn: Drawn, by_gid: ByGid
) -> None:
    material = build(whole=True)
    heights = by_gid(drawn(material, "hyperparameters"), "lr").get_offsets()[:, 1]
    scores = [s for one in material.study.confirmed for s in one["scores"].values()]
    assert len(scores) == 12
    assert sorted(heights) == pytest.approx(sorted(scores))


def test_many_values_of_a_learning_rate_stand_on_a_logarithmic_axis(material: FigureData) -> None:
    trials = material.study.trials
    table = pd.concat([trials, trials], ignore_index=True)
    table["params.lr"] = np.geomspace(1e-5, 1e-1, 8)
    many = replace(material, study=replace(material.study, trials=table))
    panels = FIGURES["hyperparameters"].draw(many).axes
    assert [axes.get_xscale() for axes in panels[:2]] == ["linear", "log"]


def test_bars_lie_where_trials_ran_with_ticks_at_the_rungs_they_came_to(
    material: FigureData, drawn: Drawn, by_gid: ByGid
) -> None:
    figure = drawn(material, "trials_over_time")
    top, bottom = figure.axes
    times = material.study.manifest["timeline"]
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in top.patches]
    assert bars == [tuple(times[trial]) for trial in material.study.trials["trial_id"]]
    ticks = by_gid(figure, "rungs").get_offsets()
    # Grace period 2 and reduction factor 3 of 6 epochs: one rung, which all four came to.
    start, end = times["t0000"]
    assert [int(place) for _, place in ticks] == [0, 1, 2, 3]
    assert ticks[0][0] == pytest.approx(start + (end - start) * 2 / 6)
    assert ticks[2][0] == pytest.approx(times["t0002"][1]), "stopped there"
    best = bottom.get_lines()[-1].get_ydata()
    assert best[-1] == pytest.approx(material.study.ranking["score"].max())
    assert "stopped early (2)" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_cost_has_a_dot_a_trial_and_its_front(
    material: FigureData, drawn: Drawn, by_gid: ByGid
) -> None:
    figure = drawn(material, "cost")
    ranking = material.study.ranking
    for column in ("seconds", "multiply_adds"):
        dots = by_gid(figure, column).get_offsets()
        assert sorted(map(tuple, dots)) == sorted(
            map(tuple, ranking[[column, "score"]].to_numpy(float))
        )
    line = by_gid(figure, "front-multiply_adds")
    assert line.get_ydata()[-1] == pytest.approx(ranking["score"].max())
    labels = [axes.get_xlabel().split(" (")[0] for axes in figure.axes]
    assert labels == ["seconds of training", "multiply-adds of one image"]


def test_what_all_cost_alike_has_no_panel(material: FigureData) -> None:
    study = material.study
    alike = study.trials.assign(multiply_adds=[10**6, 10**6 + 5, 10**6, 10**6 + 9])
    figure = FIGURES["cost"].draw(replace(material, study=replace(study, trials=alike)))
    assert [axes.get_xlabel() for axes in figure.axes] == ["seconds of training"]
    free = replace(study, trials=alike.assign(seconds=1.0))
    assert not FIGURES["cost"].worth(replace(material, study=free))


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12),
    st.booleans(),
)
def test_a_front_holds_whatever_nothing_beats(
    points: list[tuple[int, int]], ascending: bool
) -> None:
    costs, scores = np.array(points, dtype=float).T
    worth = -scores if ascending else scores
    found = pareto_front(costs, scores, ascending=ascending)
    assert (np.diff(costs[found]) > 0).all()

    def beaten(cost: float, value: float) -> bool:
        as_good = (costs <= cost) & (worth >= value)
        return bool((as_good & ((costs < cost) | (worth > value))).any())

    unbeaten = {(c, w) for c, w in zip(costs, worth, strict=True) if not beaten(c, w)}
    assert {(costs[k], worth[k]) for k in found} == unbeaten


def test_parallel_coordinates_come_with_fifty_trials_a_line_each(
    material: FigureData, drawn: Drawn
) -> None:
    assert not FIGURES["parallel_coordinates"].worth(material)
    many = pd.concat([material.study.trials] * 15, ignore_index=True)
    many["params.lr"] = np.geomspace(1e-4, 1e-1, 60)
    many["score"] = np.linspace(0.6, 0.9, 60)
    long = replace(material, study=replace(material.study, trials=many))
    (axes,) = drawn(long, "parallel_coordinates").axes
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 3]
    assert len(lines) == 60
    heights = np.array([line.get_ydata() for line in lines], dtype=float)
    assert heights[-1] == pytest.approx([heights[-1, 0], 1.0, 1.0]), "the best is drawn last"
    written = {text.get_text() for text in axes.texts}
    assert {"cnn", "cnn_gap", "0.0001", "0.1", "0.6", "0.9"} <= written


def test_importances_are_bars_full_where_chance_gives_less(
    material: FigureData, drawn: Drawn
) -> None:
    assert not FIGURES["importances"].worth(material)
    associations = (
        Association("lr", 0.7, 0.01, "0.001 to 0.003", "0.0001 to 0.1"),
        Association("batch_size", 0.3, 0.4, "16", "16, 32"),
    )
    found = Importances(4, 57, 3, associations)
    assert material.conclusions is not None
    large = replace(material, conclusions=replace(material.conclusions, importances=found))
    assert FIGURES["importances"].worth(large)
    (axes,) = drawn(large, "importances").axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([70, 30])
    full = [bar.get_facecolor() != (1.0, 1.0, 1.0, 1.0) for bar in axes.patches]
    assert full == [True, False]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["lr", "batch_size"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the greatest on top"
    assert [text.get_text().strip() for text in axes.texts] == ["p = 0.01", "p = 0.4"]
    assert "57 trials at epoch 4" in axes.get_xlabel()
