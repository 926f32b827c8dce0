"""Diagram of a small network: its layers as boxes, their output shapes and parameter counts."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from tune_bio.analysis.figures.style import (
    BLUE,
    DARK,
    GREEN,
    GREY,
    ORANGE,
    SMALL,
    WIDTH,
    new_canvas,
    truncate,
)
from tune_bio.models.layer_summary import Layer

MOST = 26  # boxes on a page
_TOP, _BOX, _GAP, _EDGE = 0.46, 0.2, 0.09, 0.06  # inches
_WIDE, _SHAPE, _PARAMETERS = 1.95, 2.62, WIDTH - _EDGE  # width of a box; right ends of columns
_CHARACTERS = 43
_COLORS = {"convolution": BLUE, "linear": ORANGE, "pooling": GREEN}


def plot_network(name: str, layers: Sequence[Layer], summary: str) -> Figure:
    """Plot one box per layer, from the input at the top downwards.

    Args:
        name: of the model.
        layers: all layers, the input first.
        summary: text on the whole network, written after its name.
    """
    shown, hidden = list(layers), 0
    if len(layers) > MOST:
        half, hidden = MOST // 2, len(layers) - MOST + 1
        shown = [*layers[:half], *layers[-(MOST - half - 1) :]]
    rows = len(shown) + bool(hidden)
    figure, axes = new_canvas(_TOP + 0.22 + rows * (_BOX + _GAP))
    _write(axes, _EDGE, 0.22, f"{name}: {summary}", ha="left")
    _write(axes, _SHAPE, _TOP - 0.03, "output shape", ha="right", weight="bold")
    _write(axes, _PARAMETERS, _TOP - 0.03, "parameters", ha="right", weight="bold")
    row = 0
    for k, layer in enumerate(shown):
        if hidden and k == MOST // 2:
            text = f"... {hidden} more layers ..."
            _write(axes, _EDGE + _WIDE / 2, _middle(row), text, ha="center")
            row += 1
        _plot_layer(axes, layer, row)
        row += 1
    return figure


def _plot_layer(axes: Axes, layer: Layer, row: int) -> None:
    middle, color = _middle(row), _COLORS.get(layer.kind, GREY)
    box = Rectangle(
        (_EDGE, middle - _BOX / 2), _WIDE, _BOX, facecolor=(color, 0.18), edgecolor=color,
        linewidth=0.8,
    )  # fmt: skip
    axes.add_patch(box)
    _write(axes, _EDGE + _WIDE / 2, middle, truncate(layer.name, _CHARACTERS), ha="center")
    _write(axes, _SHAPE, middle, " x ".join(map(str, layer.shape)), ha="right")
    count = f"{layer.parameters:,}" if layer.parameters else "-"
    _write(axes, _PARAMETERS, middle, count, ha="right")
    if row:
        top = middle - _BOX / 2
        x = _EDGE + _WIDE / 2
        axes.add_patch(
            FancyArrowPatch(
                (x, top - _GAP), (x, top), arrowstyle="-|>", mutation_scale=4,
                color=DARK, linewidth=0.6, shrinkA=0, shrinkB=0,
            )
        )  # fmt: skip


def _middle(row: int) -> float:
    return _TOP + 0.14 + row * (_BOX + _GAP)


def _write(axes: Axes, x: float, y: float, text: str, *, ha: str, weight: str = "normal") -> None:
    axes.text(x, y, text, fontsize=SMALL, ha=ha, va="center", color=DARK, fontweight=weight)
