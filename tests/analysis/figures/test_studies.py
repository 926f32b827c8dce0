"""The figure of several studies: every score is in it, and hidden ones are not."""

import math

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from tune_bio.analysis.figures.studies import StudyScores, plot_studies
from tune_bio.analysis.figures.style import rendered_png, styled

SEARCHED = StudyScores("searched", np.array([0.6, 0.7, 0.8]), np.array([]), None)
CONFIRMED = StudyScores(
    "confirmed", np.array([0.65, 0.75]), np.array([0.7, 0.72]), (0.69, 0.6, 0.8)
)


def test_each_study_has_a_row_with_all_its_scores() -> None:
    with styled():
        (axes,) = plot_studies([SEARCHED, CONFIRMED], "val_auroc").axes
    scatters = [c for c in axes.collections if isinstance(c, PathCollection)]
    points = [(x, round(y)) for c in scatters for x, y in np.asarray(c.get_offsets())]
    expected = [(x, 0) for x in SEARCHED.trials]
    expected += [(x, 1) for x in (*CONFIRMED.trials, *CONFIRMED.replicates)]
    assert sorted(points) == sorted(expected)
    lines = [tuple(line.get_xdata()) for line in axes.lines]
    assert (0.6, 0.8) in lines  # the interval on test
    assert (0.7,) in lines  # the median trial of the first study
    assert (0.71,) in [tuple(np.round(x, 9)) for x in lines]  # the median replicate of the second


@pytest.mark.parametrize("test", [None, (0.7, math.nan, math.nan)])
def test_a_sealed_test_set_and_an_unknown_interval_are_rendered(
    test: tuple[float, float, float] | None,
) -> None:
    study = StudyScores("a $name$", np.array([0.5]), np.array([0.6]), test)
    with styled(study.name):
        assert rendered_png(plot_studies([study], "val_loss")).startswith(b"\x89PNG")
