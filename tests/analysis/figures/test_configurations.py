"""The dot plot of what was trained under several seeds."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from tune_bio.analysis.figures.figure_data import FigureData

Drawn = Callable[[FigureData, str], Figure]
ByGid = Callable[[Figure, str], Any]


def test_a_dot_a_seed_at_its_score_on_validation_and_on_test(
    material: FigureData, drawn: Drawn, by_gid: ByGid
) -> None:
    figure = drawn(material, "settings")
    tested = material.study.replicates.set_index("trial_id")
    assert len(material.study.confirmed) == 2
    for one in material.study.confirmed:
        for split in ("val", "test"):
            dots = by_gid(figure, f"{split}-{one['trial']}").get_offsets()
            assert len(dots) == 3
            assert len({float(y) for _, y in dots}) == 1, "on one line"
        found = by_gid(figure, f"val-{one['trial']}").get_offsets()[:, 0]
        assert sorted(found) == pytest.approx(sorted(one["scores"].values()))
        assert set(one["scores"]) <= set(tested.index)
    evaluated = material.study.evaluations.query("split == 'test'").set_index("trial")["value"]
    first = material.study.confirmed[0]
    on_test = by_gid(figure, f"test-{first['trial']}").get_offsets()[:, 0]
    assert sorted(on_test) == pytest.approx(sorted(evaluated[list(first["scores"])]))


def test_the_interval_is_that_of_the_pooled_spread_of_seeds(
    material: FigureData, drawn: Drawn, by_gid: ByGid
) -> None:
    scores = [list(one["scores"].values()) for one in material.study.confirmed]
    pooled = math.sqrt(np.mean([np.var(each, ddof=1) for each in scores]))
    half = stats.t.ppf(0.975, 4) * pooled / math.sqrt(3)
    line = by_gid(drawn(material, "settings"), f"mean-val-{material.study.confirmed[0]['trial']}")
    mean = np.mean(scores[0])
    assert line.get_xdata() == pytest.approx([mean - half, mean, mean + half])


def test_the_noise_floor_lies_around_the_best_mean(
    material: FigureData, drawn: Drawn, by_gid: ByGid
) -> None:
    assert material.conclusions is not None
    assert material.conclusions.noise is not None
    band = by_gid(drawn(material, "settings"), "noise-floor")
    sd, mean = material.conclusions.noise.sd, material.study.confirmed[0]["mean"]
    assert band.get_x() == pytest.approx(mean - sd)
    assert band.get_width() == pytest.approx(2 * sd)


def test_controls_are_lines_at_their_validation_scores(
    material: FigureData, drawn: Drawn, by_gid: ByGid
) -> None:
    figure = drawn(material, "settings")
    predictors = material.study.manifest["controls"]["predictors"]
    assert len(predictors) == 3
    for one in predictors:
        line = by_gid(figure, f"control:{one['name']}")
        assert line.get_xdata() == pytest.approx([one["validation"]["auroc"]] * 2)
    labels = [text.get_text() for text in figure.axes[1].get_yticklabels()]
    assert labels == ["t0000, mean", "majority", "border", "pixels"]


def test_a_sealed_test_set_has_no_dots(build: Callable[..., FigureData], drawn: Drawn) -> None:
    figure = drawn(build(opened=False), "settings")
    names = {artist.get_gid() for artist in figure.findobj(lambda a: a.get_gid() is not None)}
    assert "val-t0000" in names
    assert not any(str(name).startswith("test-") for name in names)


def test_a_grid_replicated_whole_has_every_cell(
    build: Callable[..., FigureData], drawn: Drawn, by_gid: ByGid
) -> None:
    material = build(whole=True)
    figure = drawn(material, "settings")
    written = [text.get_text() for text in figure.axes[0].texts]
    assert len(written) == 4
    assert written[0] == "t0000: cnn, lr 0.001", "the best first, by what tells it apart"
    assert all(len(by_gid(figure, f"val-t000{k}").get_offsets()) == 3 for k in range(4))
