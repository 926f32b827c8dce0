"""Which hyperparameters go with good scores: the shares of their importance, of large searches."""

from matplotlib.figure import Figure

from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.figures.style import BLUE, DARK, SMALL, new_figure, truncate

CLEAR = 0.05  # p-values below are drawn full, the others are what chance gives too
MOST = 12
_ROW, _REST = 0.24, 0.75  # inches


def applies_importances(material: FigureData) -> bool:
    """From the 50 trials on that the method needs, and where it found anything to compare."""
    found = material.conclusions
    return found is not None and found.importances is not None


def importances(material: FigureData) -> Figure:
    """A bar a hyperparameter; empty where shuffled scores give as much."""
    assert material.conclusions is not None
    assert material.conclusions.importances is not None
    found = material.conclusions.importances
    told = found.associations[:MOST]
    figure, (axes,) = new_figure(1, 1, _ROW * len(told) + _REST)
    shares = [100 * one.share for one in told]
    clear = [one.p_value < CLEAR for one in told]
    axes.barh(
        range(len(told)), shares, height=0.6, edgecolor=BLUE,
        color=[BLUE if one else "white" for one in clear],
    )  # fmt: skip
    for place, (one, share) in enumerate(zip(told, shares, strict=True)):
        text = f" p = {one.p_value:.2g}"
        axes.text(share, place, text, va="center", fontsize=SMALL, color=DARK)
    axes.set_yticks(range(len(told)), [truncate(one.hyperparameter, 18) for one in told])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(shares))  # room for what stands behind the bars
    axes.grid(axis="y", visible=False)
    axes.set_title("What goes with the best tenth")
    axes.set_xlabel(f"share of importance, %; {found.trials} trials at epoch {found.epoch}")
    return figure
