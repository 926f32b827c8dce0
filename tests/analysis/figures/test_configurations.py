"""The dot plot of configurations trained under several seeds."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from tune_bio.analysis.figures.figure_data import FigureData

PlotFigure = Callable[[FigureData, str], Figure]
ByGid = Callable[[Figure, str], Any]


def test_every_seed_has_a_dot_at_its_validation_and_test_score(
    figure_data: FigureData, plot_figure: PlotFigure, by_gid: ByGid
) -> None:
    figure = plot_figure(figure_data, "configurations")
    replicates = figure_data.study.replicates.set_index("trial_id")
    assert len(figure_data.study.confirmed) == 2
    for entry in figure_data.study.confirmed:
        for split in ("val", "test"):
            dots = by_gid(figure, f"{split}-{entry['trial']}").get_offsets()
            assert len(dots) == 3
            assert len({float(y) for _, y in dots}) == 1, "in one row"
        on_val = by_gid(figure, f"val-{entry['trial']}").get_offsets()[:, 0]
        assert sorted(on_val) == pytest.approx(sorted(entry["scores"].values()))
        assert set(entry["scores"]) <= set(replicates.index)
    evaluated = figure_data.study.evaluations.query("split == 'test'").set_index("trial")["value"]
    first = figure_data.study.confirmed[0]
    on_test = by_gid(figure, f"test-{first['trial']}").get_offsets()[:, 0]
    assert sorted(on_test) == pytest.approx(sorted(evaluated[list(first["scores"])]))


def test_the_interval_comes_from_the_pooled_spread_over_seeds(
    figure_data: FigureData, plot_figure: PlotFigure, by_gid: ByGid
) -> None:
    scores = [list(entry["scores"].values()) for entry in figure_data.study.confirmed]
    pooled = math.sqrt(np.mean([np.var(values, ddof=1) for values in scores]))
    half = stats.t.ppf(0.975, 4) * pooled / math.sqrt(3)
    best = figure_data.study.confirmed[0]["trial"]
    line = by_gid(plot_figure(figure_data, "configurations"), f"mean-val-{best}")
    mean = np.mean(scores[0])
    assert line.get_xdata() == pytest.approx([mean - half, mean, mean + half])


def test_the_noise_floor_is_centred_on_the_best_mean(
    figure_data: FigureData, plot_figure: PlotFigure, by_gid: ByGid
) -> None:
    assert figure_data.conclusions is not None
    assert figure_data.conclusions.noise is not None
    band = by_gid(plot_figure(figure_data, "configurations"), "noise-floor")
    sd, mean = figure_data.conclusions.noise.sd, figure_data.study.confirmed[0]["mean"]
    assert band.get_x() == pytest.approx(mean - sd)
    assert band.get_width() == pytest.approx(2 * sd)


def test_controls_are_lines_at_their_validation_scores(
    figure_data: FigureData, plot_figure: PlotFigure, by_gid: ByGid
) -> None:
    figure = plot_figure(figure_data, "configurations")
    predictors = figure_data.study.manifest["controls"]["predictors"]
    assert len(predictors) == 3
    for predictor in predictors:
        line = by_gid(figure, f"control:{predictor['name']}")
        assert line.get_xdata() == pytest.approx([predictor["validation"]["auroc"]] * 2)
    labels = [text.get_text() for text in figure.axes[1].get_yticklabels()]
    assert labels == ["t0000 (mean)", "majority", "border", "pixels"]


def test_a_sealed_test_set_has_no_dots(
    build: Callable[..., FigureData], plot_figure: PlotFigure
) -> None:
    figure = plot_figure(build(opened=False), "configurations")
    names = {artist.get_gid() for artist in figure.findobj(lambda a: a.get_gid() is not None)}
    assert "val-t0000" in names
    assert not any(str(name).startswith("test-") for name in names)


def test_a_fully_replicated_grid_shows_every_cell(
    build: Callable[..., FigureData], plot_figure: PlotFigure, by_gid: ByGid
) -> None:
    figure_data = build(whole=True)
    figure = plot_figure(figure_data, "configurations")
    labels = [text.get_text() for text in figure.axes[0].texts]
    assert len(labels) == 4
    assert labels[0] == "t0000: cnn, lr 0.001", "the best first, with what distinguishes it"
    assert all(len(by_gid(figure, f"val-t000{k}").get_offsets()) == 3 for k in range(4))
