"""Curves, hyperparameters, timeline, cost and parallel coordinates of the search's trials."""

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

PlotFigure = Callable[[FigureData, str], Figure]
ByGid = Callable[[Figure, str], Any]


def test_a_confirmed_curve_is_the_mean_of_its_seeds_with_their_band(
    figure_data: FigureData, plot_figure: PlotFigure, by_gid: ByGid
) -> None:
    figure = plot_figure(figure_data, "learning_curves")
    curves = figure_data.study.epochs
    for entry in figure_data.study.confirmed:
        of_seeds = curves[curves["trial_id"].isin(entry["scores"])].groupby("epoch")["val_auroc"]
        line = by_gid(figure, f"val_auroc-{entry['trial']}")
        assert list(line.get_ydata()) == pytest.approx(list(of_seeds.mean()))
        band = by_gid(figure, f"band-val_auroc-{entry['trial']}").get_paths()[0].vertices[:, 1]
        assert band.min() == pytest.approx(of_seeds.min().min())
        assert band.max() == pytest.approx(of_seeds.max().max())
    grey = [line for line in figure.axes[0].get_lines() if line.get_gid() is None]
    assert len(grey) == len(figure_data.study.trials)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "validation; band: lowest to highest of 3 seeds" in labels


def test_curves_without_finalists_are_those_of_the_best_trials(
    build: Callable[..., FigureData], plot_figure: PlotFigure
) -> None:
    figure_data = build(finalists=0, opened=False)
    curves = plot_figure(figure_data, "learning_curves").axes[0].get_lines()
    assert {line.get_gid() for line in curves} == {f"val_auroc-t000{k}" for k in range(4)}


def test_replicates_of_unconfirmed_configurations_have_no_curves(
    figure_data: FigureData,
) -> None:
    study = figure_data.study
    curves = study.epochs.copy()
    curves.loc[curves["trial_id"].str.contains("r"), "val_auroc"] = 0.999
    manifest = {**study.manifest, "confirmed": []}
    unfinished = replace(figure_data, study=replace(study, epochs=curves, manifest=manifest))
    lines = FIGURES["learning_curves"].plot(unfinished).axes[0].get_lines()
    assert len(lines) == len(study.trials)
    assert max(np.max(np.asarray(line.get_ydata())) for line in lines) < 0.999


def test_every_hyperparameter_that_varied_has_a_panel(
    figure_data: FigureData, plot_figure: PlotFigure, by_gid: ByGid
) -> None:
    figure = plot_figure(figure_data, "hyperparameters")
    assert [axes.get_title("left") for axes in figure.axes if axes.axison] == ["model", "lr"]
    assert len(by_gid(figure, "model").get_offsets()) == 4
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert labels == {"completed", "stopped early", "median"}


def test_a_fully_replicated_grid_shows_every_seed_against_its_hyperparameters(
    build: Callable[..., FigureData], plot_figure: PlotFigure, by_gid: ByGid
) -> None:
    figure_data = build(whole=True)
    heights = by_gid(plot_figure(figure_data, "hyperparameters"), "lr").get_offsets()[:, 1]
    scores = [s for entry in figure_data.study.confirmed for s in entry["scores"].values()]
    assert len(scores) == 12
    assert sorted(heights) == pytest.approx(sorted(scores))


def test_many_learning_rates_are_plotted_on_a_logarithmic_axis(figure_data: FigureData) -> None:
    trials = figure_data.study.trials
    table = pd.concat([trials, trials], ignore_index=True)
    table["params.lr"] = np.geomspace(1e-5, 1e-1, 8)
    many = replace(figure_data, study=replace(figure_data.study, trials=table))
    panels = FIGURES["hyperparameters"].plot(many).axes
    assert [axes.get_xscale() for axes in panels[:2]] == ["linear", "log"]


def test_bars_span_the_trials_times_with_ticks_at_the_rungs_they_reached(
    figure_data: FigureData, plot_figure: PlotFigure, by_gid: ByGid
) -> None:
    figure = plot_figure(figure_data, "trials_over_time")
    top, bottom = figure.axes
    times = figure_data.study.manifest["timeline"]
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in top.patches]
    assert bars == [tuple(times[trial]) for trial in figure_data.study.trials["trial_id"]]
    ticks = by_gid(figure, "rungs").get_offsets()
    # Grace period 2 and reduction factor 3 of 6 epochs: one rung, which all four trials reached.
    start, end = times["t0000"]
    assert [int(row) for _, row in ticks] == [0, 1, 2, 3]
    assert ticks[0][0] == pytest.approx(start + (end - start) * 2 / 6)
    assert ticks[2][0] == pytest.approx(times["t0002"][1]), "stopped there"
    best = bottom.get_lines()[-1].get_ydata()
    assert best[-1] == pytest.approx(figure_data.study.ranking["score"].max())
    assert "stopped early (2)" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_cost_has_one_dot_per_trial_and_the_pareto_front(
    figure_data: FigureData, plot_figure: PlotFigure, by_gid: ByGid
) -> None:
    figure = plot_figure(figure_data, "cost")
    ranking = figure_data.study.ranking
    for column in ("seconds", "multiply_adds"):
        dots = by_gid(figure, column).get_offsets()
        assert sorted(map(tuple, dots)) == sorted(
            map(tuple, ranking[[column, "score"]].to_numpy(float))
        )
    line = by_gid(figure, "front-multiply_adds")
    assert line.get_ydata()[-1] == pytest.approx(ranking["score"].max())
    labels = [axes.get_xlabel().split(" (")[0] for axes in figure.axes]
    assert labels == ["training time", "multiply-adds per image"]


def test_a_cost_that_is_the_same_for_all_trials_has_no_panel(figure_data: FigureData) -> None:
    study = figure_data.study
    equal = study.trials.assign(multiply_adds=[10**6, 10**6 + 5, 10**6, 10**6 + 9])
    figure = FIGURES["cost"].plot(replace(figure_data, study=replace(study, trials=equal)))
    assert [axes.get_xlabel() for axes in figure.axes] == ["training time (s)"]
    all_equal = replace(study, trials=equal.assign(seconds=1.0))
    assert not FIGURES["cost"].applies(replace(figure_data, study=all_equal))


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12),
    st.booleans(),
)
def test_the_pareto_front_holds_exactly_the_undominated_points(
    points: list[tuple[int, int]], ascending: bool
) -> None:
    costs, scores = np.array(points, dtype=float).T
    quality = -scores if ascending else scores
    front = pareto_front(costs, scores, ascending=ascending)
    assert (np.diff(costs[front]) > 0).all()

    def is_dominated(cost: float, value: float) -> bool:
        as_good = (costs <= cost) & (quality >= value)
        return bool((as_good & ((costs < cost) | (quality > value))).any())

    undominated = {(c, q) for c, q in zip(costs, quality, strict=True) if not is_dominated(c, q)}
    assert {(costs[k], quality[k]) for k in front} == undominated


def test_parallel_coordinates_need_fifty_trials_and_have_one_line_per_trial(
    figure_data: FigureData, plot_figure: PlotFigure
) -> None:
    assert not FIGURES["parallel_coordinates"].applies(figure_data)
    many = pd.concat([figure_data.study.trials] * 15, ignore_index=True)
    many["params.lr"] = np.geomspace(1e-4, 1e-1, 60)
    many["score"] = np.linspace(0.6, 0.9, 60)
    long = replace(figure_data, study=replace(figure_data.study, trials=many))
    (axes,) = plot_figure(long, "parallel_coordinates").axes
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 3]
    assert len(lines) == 60
    heights = np.array([line.get_ydata() for line in lines], dtype=float)
    assert heights[-1] == pytest.approx([heights[-1, 0], 1.0, 1.0]), "the best is plotted last"
    labels = {text.get_text() for text in axes.texts}
    assert {"cnn", "cnn_gap", "0.0001", "0.1", "0.6", "0.9"} <= labels


def test_importances_are_bars_filled_only_if_the_p_value_is_small(
    figure_data: FigureData, plot_figure: PlotFigure
) -> None:
    assert not FIGURES["importances"].applies(figure_data)
    associations = (
        Association("lr", 0.7, 0.01, "0.001 to 0.003", "0.0001 to 0.1"),
        Association("batch_size", 0.3, 0.4, "16", "16, 32"),
    )
    importances = Importances(4, 57, 3, associations)
    assert figure_data.conclusions is not None
    large = replace(
        figure_data, conclusions=replace(figure_data.conclusions, importances=importances)
    )
    assert FIGURES["importances"].applies(large)
    (axes,) = plot_figure(large, "importances").axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([70, 30])
    filled = [bar.get_facecolor() != (1.0, 1.0, 1.0, 1.0) for bar in axes.patches]
    assert filled == [True, False]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["lr", "batch_size"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the most important at the top"
    assert [text.get_text().strip() for text in axes.texts] == ["p = 0.01", "p = 0.4"]
    assert "57 trials at epoch 4" in axes.get_xlabel()
