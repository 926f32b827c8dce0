"""Confusion, ROC, precision and recall, calibration and comparisons of the winner."""

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

Drawn = Callable[[FigureData, str], Figure]
ByGid = Callable[[Figure, str], Any]
THRESHOLD = 0.45  # of the manifest


def _truth(material: FigureData, split: str) -> tuple[Any, Any]:
    rows = material.rows(material.winner, split)
    assert len(rows) == {"val": 120, "test": 160}[split]
    return rows["label"].to_numpy(), material.probabilities(rows)


def test_cells_are_counts_at_the_recorded_threshold_and_names_are_in_chinese(
    material: FigureData, drawn: Drawn
) -> None:
    figure = drawn(material, "confusion")
    assert [axes.get_title("left") for axes in figure.axes] == ["Validation", "Test"]
    for split, axes in zip(("val", "test"), figure.axes, strict=True):
        labels, p = _truth(material, split)
        wanted = confusion_matrix(labels, p[:, 1] >= THRESHOLD)
        cells = [int(text.get_text().split("\n")[0]) for text in axes.texts]
        assert cells == wanted.ravel().tolist()
        assert [text.get_text() for text in axes.get_xticklabels()] == ["正常", "肺炎"]
    assert (p[:, 1] >= THRESHOLD).sum() != (p[:, 1] >= 0.5).sum(), "or nothing was tested"
    assert "threshold 0.45" in figure.get_supxlabel()


def test_of_many_classes_the_most_likely_is_called(
    build: Callable[..., FigureData], drawn: Drawn
) -> None:
    material = build(classes=("正常", "b", "c"))
    labels, p = _truth(material, "val")
    cells = [int(t.get_text().split("\n")[0]) for t in drawn(material, "confusion").axes[0].texts]
    assert cells == confusion_matrix(labels, p.argmax(axis=1)).ravel().tolist()


def test_curves_are_those_of_scikit_learn(
    material: FigureData, drawn: Drawn, by_gid: ByGid
) -> None:
    figure = drawn(material, "roc_pr")
    for split, name in (("val", "validation"), ("test", "test")):
        labels, p = _truth(material, split)
        false, true, _ = roc_curve(labels, p[:, 1], drop_intermediate=False)
        line = by_gid(figure, f"roc-{name}")
        assert line.get_xdata() == pytest.approx(false)
        assert line.get_ydata() == pytest.approx(true)
        precision, recall, _ = precision_recall_curve(labels, p[:, 1])
        line = by_gid(figure, f"pr-{name}")
        assert line.get_xdata() == pytest.approx(recall[-2::-1])
        assert line.get_ydata() == pytest.approx(precision[-2::-1])
        assert by_gid(figure, f"share-{name}").get_ydata() == pytest.approx([labels.mean()] * 2)
        told = [text.get_text() for text in figure.legends[0].get_texts()]
        assert any(f"{name}: AUROC {roc_auc_score(labels, p[:, 1]):.3f}" in one for one in told)
    assert figure.legends[0].get_title().get_text() == f"{material.winner}, positive class: 肺炎"


def test_bands_hold_the_curve_and_come_from_the_seed(material: FigureData) -> None:
    sample = material.samples["val"]
    curve = Curve("", "k", sample.labels, sample.probabilities[:, 1], sample)
    (low, high), (below, above) = bands(curve, seed=1)
    again, other = bands(curve, seed=1), bands(curve, seed=2)
    false, true, _ = roc_curve(sample.labels, curve.scores)
    inside = np.interp(np.linspace(0, 1, 101), false, true)
    assert ((low <= inside + 1e-9) & (inside <= high + 1e-9)).mean() > 0.95
    assert (high - low).max() > 0.1
    assert (below <= above).all()
    assert np.array_equal(again[0][0], low)
    assert not np.array_equal(other[0][0], low)


def test_patients_and_not_images_make_the_bands(material: FigureData) -> None:
    """The same images as if each were a patient of its own are more of a sample."""
    from dataclasses import replace

    sample = material.samples["val"]
    n = len(sample.labels)
    # Pairs of a patient are made alike, as two images of one patient are.
    alike = sample.probabilities[np.arange(n) // 2 * 2]
    clustered = replace(sample, probabilities=alike)
    single = replace(clustered, codes=np.arange(n), patients=n)
    widths = []
    for one in (clustered, single):
        (low, high), _ = bands(Curve("", "k", one.labels, alike[:, 1], one), seed=0)
        widths.append(float((high - low).mean()))
    assert widths[0] > 1.2 * widths[1]


def test_reliability_is_that_of_scikit_learn_in_bins_of_as_many_images(
    material: FigureData, drawn: Drawn, by_gid: ByGid
) -> None:
    labels, p = _truth(material, "val")
    wanted = calibration_curve(labels, p[:, 1], n_bins=10, strategy="quantile")
    line = by_gid(drawn(material, "calibration"), "reliability-val")
    assert line.get_ydata() == pytest.approx(wanted[0])
    assert line.get_xdata() == pytest.approx(wanted[1])
    sample = material.samples["val"]
    found = reliability(labels, p[:, 1], sample, seed=0)
    assert ((found.low <= found.found) & (found.found <= found.high)).all()


def test_equal_probabilities_are_one_bin(material: FigureData) -> None:
    sample = material.samples["val"]
    claimed = np.full(len(sample.labels), 0.3)
    found = reliability(sample.labels, claimed, sample, seed=0)
    assert found.claimed == pytest.approx([0.3])
    assert found.found == pytest.approx([sample.labels.mean()])


def test_a_finalist_stands_at_its_difference_and_its_interval(
    material: FigureData, drawn: Drawn, by_gid: ByGid
) -> None:
    assert material.conclusions is not None
    (versus,) = material.conclusions.versus
    figure = drawn(material, "comparisons")
    interval = by_gid(figure, "interval-0").get_xdata()
    assert list(interval) == [versus.comparison.low, versus.comparison.high]
    assert by_gid(figure, "zero").get_xdata() == [0, 0]
    (text,) = figure.axes[0].texts
    assert text.get_text().startswith(f"{versus.winner} less {versus.other}, p = ")


def test_a_grid_has_the_differences_of_its_levels(
    build: Callable[..., FigureData], drawn: Drawn
) -> None:
    material = build(whole=True)
    assert material.conclusions is not None
    wanted = [d for effect in material.conclusions.effects for d in effect.differences]
    assert len(wanted) == 2
    figure = drawn(material, "comparisons")
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written == ["model: cnn less cnn_gap", "lr: 0.001 less 0.005"]


def test_before_the_test_set_is_opened_it_is_in_no_figure(
    build: Callable[..., FigureData], drawn: Drawn
) -> None:
    material = build(opened=False)
    assert len(drawn(material, "confusion").axes) == 1
    names = [t.get_text() for t in drawn(material, "roc_pr").legends[0].get_texts()]
    assert not any(name.startswith("test") for name in names)
    assert not FIGURES["comparisons"].worth(material)
