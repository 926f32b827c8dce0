"""What holds for every figure: files, style, fonts, marks."""

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
    save_figures,
    save_image_figure,
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
Drawn = Callable[[FigureData, str], Figure]


def test_each_is_written_as_png_and_as_the_same_svg_twice(
    material: FigureData, tmp_path: Path
) -> None:
    given_all = material.study, material.predictions, material.conclusions
    study, predictions, conclusions = given_all
    first = save_figures(study, tmp_path / "first", predictions, conclusions)
    save_figures(study, tmp_path / "second", predictions, conclusions)
    of_large_searches = ("importances", "parallel_coordinates")
    assert [path.stem for path in first] == [n for n in FIGURES if n not in of_large_searches]
    for path in first:
        with Image.open(path) as image:
            assert image.width == pytest.approx(WIDTH * 300, abs=2)
            assert len(image.convert("L").getcolors() or []) > 10, "not an empty canvas"
        svg = path.with_suffix(".svg").name
        assert (tmp_path / "first" / svg).read_bytes() == (tmp_path / "second" / svg).read_bytes()
    confusion = (tmp_path / "first" / "confusion.svg").read_text(encoding="utf-8")
    assert "肺炎" in confusion, "text stays text"


def test_a_bare_search_gets_the_quick_ones_alone(material: FigureData, tmp_path: Path) -> None:
    found = save_figures(material.study, tmp_path, material.predictions, quick=True)
    assert {path.stem for path in found} == {
        "learning_curves", "hyperparameters", "trials_over_time",
    }  # fmt: skip


def test_without_predictions_what_needs_them_is_left_out(material: FigureData) -> None:
    bare = figure_data_of(material.study)
    worth = {name for name, drawing in FIGURES.items() if drawing.worth(bare)}
    assert not worth & {"roc_pr", "confusion", "calibration", "comparisons"}
    assert {"settings", "learning_curves"} <= worth


def test_one_trial_alone_has_its_curve_and_nothing_to_be_compared_with(
    material: FigureData,
) -> None:
    study = material.study
    one = replace(study, trials=study.trials.iloc[:1], manifest={**study.manifest, "confirmed": []})
    worth = {name for name, drawing in FIGURES.items() if drawing.worth(figure_data_of(one))}
    assert worth == {"learning_curves"}


@pytest.mark.parametrize("options", STUDIES, ids=["finalists", "grid", "classes", "bare"])
def test_no_text_is_small_or_beyond_the_edge(
    build: Callable[..., FigureData], drawn: Drawn, options: dict[str, Any]
) -> None:
    material = build(**options)
    names = [name for name, drawing in FIGURES.items() if drawing.worth(material)]
    assert len(names) > 4
    for name in names:
        figure = drawn(material, name)
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


def test_trials_that_diverged_failed_or_have_no_score_are_drawn_too(
    material: FigureData, drawn: Drawn
) -> None:
    study = material.study
    curves, trials = study.epochs.copy(), study.trials.copy()
    gone = curves["trial_id"] == "t0001"
    curves.loc[gone & (curves["epoch"] > 2), ["val_auroc", "val_loss"]] = np.nan
    curves.loc[gone & (curves["epoch"] > 3), "train_loss"] = np.inf
    curves = curves[curves["trial_id"] != "t0003"]
    trials["status"] = ["completed", "diverged", "interrupted", "failed"]
    trials.loc[3, ["score", "seconds", "multiply_adds", "params.lr"]] = np.nan
    manifest = {**study.manifest, "confirmed": [], "test_set_opened": [], "thresholds": {}}
    broken = replace(study, epochs=curves, trials=trials, manifest=manifest)
    worth = figure_data_of(broken, material.predictions)
    names = [name for name, drawing in FIGURES.items() if drawing.worth(worth)]
    assert {"learning_curves", "hyperparameters", "cost", "trials_over_time"} <= set(names)
    assert "settings" not in names
    for name in names:
        drawn(worth, name)


def test_letters_that_matplotlib_has_need_no_other_font() -> None:
    assert fonts.families("plain ä é µ") == ([fonts.OWN], "")


def test_a_font_that_lacks_a_character_is_not_asked_for_it() -> None:
    found, missing = fonts.families("肺炎 a")
    covered = set().union(*(fonts._glyphs(name) for name in found))
    assert set("肺炎") - covered == set(missing)


def test_characters_that_no_font_has_are_said_on_the_figure(
    material: FigureData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "FALLBACKS", ())
    monkeypatch.setattr(fonts, "_look_again", lambda: None)
    kept = []

    def draw() -> Figure:
        figure, axes = new_canvas(1.0)
        axes.text(0.1, 0.5, "肺炎")
        kept.append(figure)
        return figure

    save_image_figure(material.study, tmp_path, {"one": draw}, "肺炎")
    told = [text.get_text() for text in kept[0].texts]
    assert told == ["no font here has 2 of the characters: install fonts-noto-cjk"]
    assert "肺炎" in (tmp_path / "one.svg").read_text(encoding="utf-8")


def test_synthetic_data_and_leaks_are_marked(material: FigureData, tmp_path: Path) -> None:
    notes = ["leakage between splits was allowed: x"]
    data = {**material.study.manifest["data"], "synthetic": True, "notes": notes}
    study = replace(material.study, manifest={**material.study.manifest, "data": data})
    kept = [new_canvas(1.0)[0]]
    save_image_figure(study, tmp_path, {"one": lambda: kept[0]})
    assert "synthetic data" in kept[0].texts[0].get_text()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_an_axis_holds_its_values_and_no_metric_beyond_one(values: list[float]) -> None:
    low, high = limits(values, "val_auroc")
    assert 0 <= low <= min(values)
    assert max(values) <= high <= 1
    assert low < high
    assert limits(values, "val_loss")[1] > max(values)


def test_a_metric_that_is_not_finite_is_no_end_of_an_axis() -> None:
    assert limits([0.5, np.nan, np.inf], "val_auroc") == pytest.approx((0.49, 0.51))
