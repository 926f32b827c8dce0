"""Importance of the hyperparameters in a large search."""

from matplotlib.figure import Figure

from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.style import BLUE, DARK, SMALL, new_figure, truncate

CLEAR = 0.05  # bars with a p-value below are filled; the others may be due to chance
MOST = 12  # hyperparameters
_ROW, _REST = 0.24, 0.75  # inches


def applies_importances(data: FigureData) -> bool:
    """Return True if importances could be computed, which takes at least 50 trials."""
    conclusions = data.conclusions
    return conclusions is not None and conclusions.importances is not None


def importances(data: FigureData) -> Figure:
    """Plot one bar per hyperparameter, empty if shuffled scores give as much importance."""
    assert data.conclusions is not None
    assert data.conclusions.importances is not None
    result = data.conclusions.importances
    shown = result.associations[:MOST]
    figure, (axes,) = new_figure(1, 1, _ROW * len(shown) + _REST)
    shares = [100 * association.share for association in shown]
    clear = [association.p_value < CLEAR for association in shown]
    axes.barh(
        range(len(shown)), shares, height=0.6, edgecolor=BLUE,
        color=[BLUE if is_clear else "white" for is_clear in clear],
    )  # fmt: skip
    for row, (association, share) in enumerate(zip(shown, shares, strict=True)):
        text = f" p = {association.p_value:.2g}"
        axes.text(share, row, text, va="center", fontsize=SMALL, color=DARK)
    axes.set_yticks(
        range(len(shown)), [truncate(association.hyperparameter, 18) for association in shown]
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(shares))  # room for the p-values after the bars
    axes.grid(axis="y", visible=False)
    axes.set_title("Association with the best tenth of trials")
    axes.set_xlabel(f"share of importance (%), {result.trials} trials at epoch {result.epoch}")
    return figure
