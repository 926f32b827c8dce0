"""Properties of every figure: files, style, fonts and warnings."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from tune_bio.analysis.figures import fonts
from tune_bio.analysis.figures.draw_all import (
    FIGURES,
    figure_data_of,
    render_figures,
    save_figures,
)
from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.style import SMALL, WIDTH, limits, new_canvas

FOUR = ("正常", "细菌性肺炎", "病毒性肺炎", "a class whose name is far too long to be written out")
STUDIES: list[dict[str, Any]] = [
    {},
    {"whole": True},
    {"classes": FOUR},
    {"finalists": 0, "opened": False},
]
PlotFigure = Callable[[FigureData, str], Figure]


def test_every_figure_is_written_as_png_and_as_a_reproducible_svg(
    figure_data: FigureData, tmp_path: Path
) -> None:
    study, predictions = figure_data.study, figure_data.predictions
    conclusions = figure_data.conclusions
    first = save_figures(study, tmp_path / "first", predictions, conclusions)
    save_figures(study, tmp_path / "second", predictions, conclusions)
    large_searches_only = ("importances", "parallel_coordinates")
    assert [path.stem for path in first] == [n for n in FIGURES if n not in large_searches_only]
    for path in first:
        with Image.open(path) as image:
            assert image.width == pytest.approx(WIDTH * 300, abs=2)
            assert len(image.convert("L").getcolors() or []) > 10, "not an empty canvas"
        svg = path.with_suffix(".svg").name
        assert (tmp_path / "first" / svg).read_bytes() == (tmp_path / "second" / svg).read_bytes()
    confusion = (tmp_path / "first" / "confusion.svg").read_text(encoding="utf-8")
    assert "肺炎" in confusion, "text stays text"


def test_a_search_without_finalists_gets_only_the_quick_figures(
    figure_data: FigureData, tmp_path: Path
) -> None:
    paths = save_figures(figure_data.study, tmp_path, figure_data.predictions, quick=True)
    assert {path.stem for path in paths} == {
        "learning_curves", "hyperparameters", "trials_over_time",
    }  # fmt: skip


def test_figures_that_need_predictions_are_left_out_without_them(figure_data: FigureData) -> None:
    bare = figure_data_of(figure_data.study)
    names = {name for name, kind in FIGURES.items() if kind.applies(bare)}
    assert not names & {"roc_pr", "confusion", "calibration", "comparisons"}
    assert {"configurations", "learning_curves"} <= names


def test_a_single_trial_gets_only_learning_curves(
    figure_data: FigureData,
) -> None:
    study = figure_data.study
    manifest = {**study.manifest, "confirmed": []}
    single = figure_data_of(replace(study, trials=study.trials.iloc[:1], manifest=manifest))
    names = {name for name, kind in FIGURES.items() if kind.applies(single)}
    assert names == {"learning_curves"}


@pytest.mark.parametrize("options", STUDIES, ids=["finalists", "grid", "classes", "bare"])
def test_no_text_is_too_small_or_outside_the_figure(
    build: Callable[..., FigureData], plot_figure: PlotFigure, options: dict[str, Any]
) -> None:
    figure_data = build(**options)
    names = [name for name, kind in FIGURES.items() if kind.applies(figure_data)]
    assert len(names) > 4
    for name in names:
        figure = plot_figure(figure_data, name)
        assert figure.get_figwidth() == pytest.approx(85 / 25.4)
        texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        assert min(text.get_fontsize() for text in texts) >= SMALL
        assert figure.get_figheight() * 25.4 <= 230
        box, whole = figure.get_tightbbox(), figure.bbox_inches
        assert box.x0 >= -0.01, name
        assert box.y0 >= -0.01, name
        assert box.x1 <= whole.width + 0.01, name
        assert box.y1 <= whole.height + 0.01, name
        for text in (text for text in texts if not text.get_in_layout()):
            assert text.get_window_extent().x1 <= figure.bbox.width, (name, text.get_text())


def test_diverged_failed_and_unscored_trials_can_be_plotted(
    figure_data: FigureData, plot_figure: PlotFigure
) -> None:
    study = figure_data.study
    curves, trials = study.epochs.copy(), study.trials.copy()
    diverged = curves["trial_id"] == "t0001"
    curves.loc[diverged & (curves["epoch"] > 2), ["val_auroc", "val_loss"]] = np.nan
    curves.loc[diverged & (curves["epoch"] > 3), "train_loss"] = np.inf
    curves = curves[curves["trial_id"] != "t0003"]
    trials["status"] = ["completed", "diverged", "interrupted", "failed"]
    trials.loc[3, ["score", "seconds", "multiply_adds", "params.lr"]] = np.nan
    manifest = {**study.manifest, "confirmed": [], "test_set_opened": [], "thresholds": {}}
    broken_study = replace(study, epochs=curves, trials=trials, manifest=manifest)
    broken = figure_data_of(broken_study, figure_data.predictions)
    names = [name for name, kind in FIGURES.items() if kind.applies(broken)]
    assert {"learning_curves", "hyperparameters", "cost", "trials_over_time"} <= set(names)
    assert "configurations" not in names
    for name in names:
        plot_figure(broken, name)


def test_no_fallback_font_is_used_for_letters_that_matplotlib_has() -> None:
    assert fonts.families("plain ä é µ") == ([fonts.OWN], "")


def test_characters_are_missing_exactly_if_no_selected_font_has_them() -> None:
    selected, missing = fonts.families("肺炎 a")
    covered = set().union(*(fonts._glyphs(name) for name in selected))
    assert set("肺炎") - covered == set(missing)


def test_characters_without_a_font_are_reported_on_the_figure(
    figure_data: FigureData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "FALLBACKS", ())
    monkeypatch.setattr(fonts, "_rescan_fonts", lambda: None)
    figures = []

    def plot() -> Figure:
        figure, axes = new_canvas(1.0)
        axes.text(0.1, 0.5, "肺炎")
        figures.append(figure)
        return figure

    render_figures(figure_data.study, tmp_path, {"one": plot}, "肺炎")
    texts = [text.get_text() for text in figures[0].texts]
    assert texts == ["no installed font has 2 of the characters: install fonts-noto-cjk"]
    assert "肺炎" in (tmp_path / "one.svg").read_text(encoding="utf-8")


def test_synthetic_data_and_leaks_are_marked(figure_data: FigureData, tmp_path: Path) -> None:
    notes = ["leakage between splits was allowed: x"]
    data = {**figure_data.study.manifest["data"], "synthetic": True, "notes": notes}
    study = replace(figure_data.study, manifest={**figure_data.study.manifest, "data": data})
    figure, _ = new_canvas(1.0)
    render_figures(study, tmp_path, {"one": lambda: figure})
    assert "synthetic data" in figure.texts[0].get_text()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_axis_limits_enclose_the_values_and_stay_in_the_range_of_the_metric(
    values: list[float],
) -> None:
    low, high = limits(values, "val_auroc")
    assert 0 <= low <= min(values)
    assert max(values) <= high <= 1
    assert low < high
    assert limits(values, "val_loss")[1] > max(values)


def test_values_that_are_not_finite_do_not_affect_axis_limits() -> None:
    assert limits([0.5, np.nan, np.inf], "val_auroc") == pytest.approx((0.49, 0.51))
