"""Confusion matrices, ROC, precision-recall, calibration and comparisons of the winner."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_auc_score, roc_curve

from tune_bio.analysis.figures.calibration import reliability
from tune_bio.analysis.figures.discrimination import Curve, bands
from tune_bio.analysis.figures.draw_all import FIGURES
from tune_bio.analysis.figures.figure_data import FigureData

PlotFigure = Callable[[FigureData, str], Figure]
ByGid = Callable[[Figure, str], Any]
THRESHOLD = 0.45  # as in the manifest


def _truth(figure_data: FigureData, split: str) -> tuple[Any, Any]:
    rows = figure_data.rows(figure_data.winner, split)
    assert len(rows) == {"val": 120, "test": 160}[split]
    return rows["label"].to_numpy(), figure_data.probabilities(rows)


def test_cells_are_counts_at_the_recorded_threshold_with_chinese_class_names(
    figure_data: FigureData, plot_figure: PlotFigure
) -> None:
    figure = plot_figure(figure_data, "confusion")
    assert [axes.get_title("left") for axes in figure.axes] == ["Validation", "Test"]
    for split, axes in zip(("val", "test"), figure.axes, strict=True):
        labels, p = _truth(figure_data, split)
        counts = confusion_matrix(labels, p[:, 1] >= THRESHOLD)
        cells = [int(text.get_text().split("\n")[0]) for text in axes.texts]
        assert cells == counts.ravel().tolist()
        assert [text.get_text() for text in axes.get_xticklabels()] == ["正常", "肺炎"]
    assert (p[:, 1] >= THRESHOLD).sum() != (p[:, 1] >= 0.5).sum(), (
        "otherwise the threshold is not tested"
    )
    assert "threshold 0.45" in figure.get_supxlabel()


def test_the_most_likely_of_many_classes_is_predicted(
    build: Callable[..., FigureData], plot_figure: PlotFigure
) -> None:
    figure_data = build(classes=("正常", "b", "c"))
    labels, p = _truth(figure_data, "val")
    cells = [
        int(t.get_text().split("\n")[0])
        for t in plot_figure(figure_data, "confusion").axes[0].texts
    ]
    assert cells == confusion_matrix(labels, p.argmax(axis=1)).ravel().tolist()


def test_curves_match_scikit_learn(
    figure_data: FigureData, plot_figure: PlotFigure, by_gid: ByGid
) -> None:
    figure = plot_figure(figure_data, "roc_pr")
    for split, name in (("val", "validation"), ("test", "test")):
        labels, p = _truth(figure_data, split)
        false, true, _ = roc_curve(labels, p[:, 1], drop_intermediate=False)
        line = by_gid(figure, f"roc-{name}")
        assert line.get_xdata() == pytest.approx(false)
        assert line.get_ydata() == pytest.approx(true)
        precision, recall, _ = precision_recall_curve(labels, p[:, 1])
        line = by_gid(figure, f"pr-{name}")
        assert line.get_xdata() == pytest.approx(recall[-2::-1])
        assert line.get_ydata() == pytest.approx(precision[-2::-1])
        assert by_gid(figure, f"share-{name}").get_ydata() == pytest.approx([labels.mean()] * 2)
        legend = [text.get_text() for text in figure.legends[0].get_texts()]
        area = f"{name}: AUROC {roc_auc_score(labels, p[:, 1]):.3f}"
        assert any(area in label for label in legend)
    assert figure.legends[0].get_title().get_text() == f"{figure_data.winner}, positive class: 肺炎"


def test_bands_enclose_the_curve_and_depend_on_the_seed(figure_data: FigureData) -> None:
    sample = figure_data.samples["val"]
    curve = Curve("", "k", sample.labels, sample.probabilities[:, 1], sample)
    (low, high), (below, above) = bands(curve, seed=1)
    again, other = bands(curve, seed=1), bands(curve, seed=2)
    false, true, _ = roc_curve(sample.labels, curve.scores)
    sensitivity = np.interp(np.linspace(0, 1, 101), false, true)
    assert ((low <= sensitivity + 1e-9) & (sensitivity <= high + 1e-9)).mean() > 0.95
    assert (high - low).max() > 0.1
    assert (below <= above).all()
    assert np.array_equal(again[0][0], low)
    assert not np.array_equal(other[0][0], low)


def test_bands_are_over_patients_and_not_over_images(figure_data: FigureData) -> None:
    """Bands are narrower if each image counts as a separate patient."""
    from dataclasses import replace

    sample = figure_data.samples["val"]
    n = len(sample.labels)
    # Both images of a patient get the same probabilities, as real images of one patient are alike.
    alike = sample.probabilities[np.arange(n) // 2 * 2]
    clustered = replace(sample, probabilities=alike)
    single = replace(clustered, codes=np.arange(n), patients=n)
    widths = []
    for resampled in (clustered, single):
        (low, high), _ = bands(Curve("", "k", sample.labels, alike[:, 1], resampled), seed=0)
        widths.append(float((high - low).mean()))
    assert widths[0] > 1.2 * widths[1]


def test_reliability_matches_scikit_learn_with_quantile_bins(
    figure_data: FigureData, plot_figure: PlotFigure, by_gid: ByGid
) -> None:
    labels, p = _truth(figure_data, "val")
    observed, predicted = calibration_curve(labels, p[:, 1], n_bins=10, strategy="quantile")
    line = by_gid(plot_figure(figure_data, "calibration"), "reliability-val")
    assert line.get_ydata() == pytest.approx(observed)
    assert line.get_xdata() == pytest.approx(predicted)
    sample = figure_data.samples["val"]
    curve = reliability(labels, p[:, 1], sample, seed=0)
    assert ((curve.low <= curve.observed) & (curve.observed <= curve.high)).all()


def test_equal_probabilities_share_one_bin(figure_data: FigureData) -> None:
    sample = figure_data.samples["val"]
    probabilities = np.full(len(sample.labels), 0.3)
    curve = reliability(sample.labels, probabilities, sample, seed=0)
    assert curve.predicted == pytest.approx([0.3])
    assert curve.observed == pytest.approx([sample.labels.mean()])


def test_a_finalist_is_plotted_at_its_difference_with_its_interval(
    figure_data: FigureData, plot_figure: PlotFigure, by_gid: ByGid
) -> None:
    assert figure_data.conclusions is not None
    (versus,) = figure_data.conclusions.versus
    figure = plot_figure(figure_data, "comparisons")
    interval = by_gid(figure, "interval-0").get_xdata()
    assert list(interval) == [versus.comparison.low, versus.comparison.high]
    assert by_gid(figure, "zero").get_xdata() == [0, 0]
    (text,) = figure.axes[0].texts
    assert text.get_text().startswith(f"{versus.winner} minus {versus.other}, p = ")


def test_a_grid_shows_the_differences_between_its_levels(
    build: Callable[..., FigureData], plot_figure: PlotFigure
) -> None:
    figure_data = build(whole=True)
    assert figure_data.conclusions is not None
    differences = [d for effect in figure_data.conclusions.effects for d in effect.differences]
    assert len(differences) == 2
    figure = plot_figure(figure_data, "comparisons")
    labels = [text.get_text() for text in figure.axes[0].texts]
    assert labels == ["model: cnn minus cnn_gap", "lr: 0.001 minus 0.005"]


def test_an_unopened_test_set_is_not_in_any_figure(
    build: Callable[..., FigureData], plot_figure: PlotFigure
) -> None:
    figure_data = build(opened=False)
    assert len(plot_figure(figure_data, "confusion").axes) == 1
    names = [t.get_text() for t in plot_figure(figure_data, "roc_pr").legends[0].get_texts()]
    assert not any(name.startswith("test") for name in names)
    assert not FIGURES["comparisons"].applies(figure_data)
