"""One style for all figures: a journal's column wide, no text below 6 pt, safe colours.

Colours are Okabe and Ito's, which people with a colour-vision deficiency can tell apart.
"""

import logging
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import Formatter, FuncFormatter, LogLocator, NullFormatter

from tune_bio.analysis.figures.fonts import families
from tune_bio.common.files import replacing
from tune_bio.common.labels import without_split
from tune_bio.space.trial_config import Value, format_value

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442",
)  # fmt: skip
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY)
GREY, PALE, DARK = "#999999", "#c8c8c8", "#333333"
SPLIT_COLORS = {"val": BLUE, "test": ORANGE}
SPLIT_MARKERS = {"val": "o", "test": "D"}
SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
STATUS_COLORS = {
    "completed": BLUE,
    "stopped_early": ORANGE,
    "diverged": PURPLE,
    "failed": RED,
    "interrupted": GREY,
    "running": GREEN,
}
MARKED = "#a04000"
WIDTH = 85 / 25.4  # inches: a journal's column
TALLEST = 230 / 25.4  # and its page
SMALL = 6.0  # points; nothing is smaller
_ACROSS = 72  # such characters have room across a figure
STYLE: dict[Any, Any] = {
    "figure.dpi": 300,
    "figure.constrained_layout.h_pad": 0.055,
    "font.size": 6.5,
    "axes.titlesize": 7,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 6.5,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "text.parse_math": False,  # a dollar in a class's name is a dollar
    "svg.fonttype": "none",  # text stays text, so that a journal can restyle it
    "svg.hashsalt": "tune_bio",  # the same records give the same bytes
}
_BOUNDED = ("auroc", "auprc", "accuracy", "balanced_accuracy", "macro_f1")


@contextmanager
def styled(characters: Iterable[str] = ()) -> Iterator[str]:
    """Figures made and saved inside have the style, in fonts that have these characters.

    Yields the characters that no font on this machine has.
    """
    fonts, missing = families(characters)
    log = logging.getLogger("matplotlib.font_manager")
    before = log.level
    with mpl.rc_context({**STYLE, "font.family": fonts}), warnings.catch_warnings():
        if missing:  # said on the figure
            warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        log.setLevel(logging.ERROR)  # it tells everyone that a font has no bold
        try:
            yield missing
        finally:
            log.setLevel(before)


def new_figure(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure a column wide and `height` inches tall, and its axes, row by row."""
    figure = Figure(figsize=(WIDTH, min(height, TALLEST)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(np.ravel(axes))


def new_canvas(height: float) -> tuple[Figure, Axes]:
    """A figure a column wide and `height` inches tall to draw on freely, in inches from above."""
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(height, 0), autoscale_on=False)
    axes.set_axis_off()
    return figure, axes


def write_row(axes: Axes, text: str, height: float) -> None:
    """What a row of a plot is, over the whole width of the figure, at a height of its axis."""
    axes.annotate(
        text, (0.012, height), xycoords=("figure fraction", "data"), fontsize=SMALL, va="center",
        color=DARK, annotation_clip=False, zorder=5,
        bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.6},
    ).set_in_layout(False)  # fmt: skip


def add_mark(figure: Figure, marks: Sequence[str]) -> None:
    """Say above a figure what must not be overlooked."""
    if not marks:
        return
    text = "\n".join(textwrap.wrap(" · ".join(marks), _ACROSS))
    how: dict[str, Any] = {"ha": "left", "fontsize": SMALL, "color": MARKED}
    if figure.get_layout_engine() is None:
        figure.text(0.012, 1 - 0.03 / figure.get_figheight(), text, va="top", **how)
    else:
        figure.suptitle(text, x=0.012, **how)


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write NAME.svg and NAME.png; returns the latter."""
    # Laid out once for both files; Matplotlib would do it anew, and draw everything twice, in each.
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    for suffix in (".svg", ".png"):
        with replacing(folder / f"{name}{suffix}") as temporary:
            # No date inside: the same records give the same bytes.
            metadata = {"Date": None} if suffix == ".svg" else {"Software": None}
            figure.savefig(temporary, format=suffix[1:], dpi="figure", metadata=metadata)
    return folder / f"{name}.png"


def log_scaled(
    axis: Axis, values: npt.ArrayLike, most: int, formatter: Formatter | None = None
) -> None:
    """Set the ticks of a logarithmic axis that holds these values: `most` plain numbers at most.

    Matplotlib's own, such as 6 x 10^-1, stand in each other's way.
    """
    found = np.asarray(values, dtype=np.float64)
    found = found[np.isfinite(found) & (found > 0)]
    for steps in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        ticks = np.outer(10.0 ** np.arange(-12, 16), steps)
        if ((ticks >= found.min()) & (ticks <= found.max())).sum() <= most:
            break
    axis.set_major_locator(LogLocator(subs=steps, numticks=most if steps == (1.0,) else None))
    axis.set_major_formatter(formatter or FuncFormatter(_plain))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float, place: int | None = None) -> str:
    """0.001, and 1e-6 rather than 1e-06."""
    return f"{value:g}".replace("e-0", "e-")


def limits(values: npt.ArrayLike, metric: str) -> tuple[float, float]:
    """An axis that holds these values of a metric, and goes no further than the metric does."""
    found = np.asarray(values, dtype=np.float64)
    found = found[np.isfinite(found)]
    if not found.size:
        return 0.0, 1.0
    low, high = float(found.min()), float(found.max())
    room = max(0.06 * (high - low), 0.01)
    low, high = max(0.0, low - room), high + room
    return (low, min(1.0, high)) if without_split(metric) in _BOUNDED else (low, high)


def short_label(value: Value) -> str:
    """A hyperparameter's value as briefly as can be."""
    return format_value(value).removeprefix("timm:")


def truncate(text: str, characters: int) -> str:
    """The text, or its beginning and three dots."""
    return text if len(text) <= characters else text[: characters - 3].rstrip() + "..."


def key(color: str, label: str, **options: Any) -> Line2D:
    """An entry of a legend: a line, unless `options` say otherwise."""
    return Line2D([], [], color=color, label=label, **options)


def dot(color: str, label: str, marker: str = "o", **options: Any) -> Line2D:
    """An entry of a legend: a dot."""
    return Line2D([], [], color=color, label=label, marker=marker, linestyle="", **options)
