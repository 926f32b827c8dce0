"""Common style of all figures: one journal column wide, no text below 6 pt, safe colours.

The colours are those of Okabe and Ito, which remain distinct under colour-vision deficiencies.
"""

import io
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
WIDTH = 85 / 25.4  # inches, the width of a journal column
TALLEST = 230 / 25.4  # inches, the height of a journal page
SMALL = 6.0  # points, the smallest font size
_LINE_CHARACTERS = 72  # characters of size SMALL that fit across a figure
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
    "text.parse_math": False,  # a dollar sign in a class name is literal
    "svg.fonttype": "none",  # text stays text, so a journal can restyle it
    "svg.hashsalt": "tune_bio",  # the same records give the same bytes
}
_BOUNDED = ("auroc", "auprc", "accuracy", "balanced_accuracy", "macro_f1")


@contextmanager
def styled(characters: Iterable[str] = ()) -> Iterator[str]:
    """Apply the style, with fonts for these characters, to figures created and saved inside.

    Yields the characters that no installed font has.
    """
    fonts, missing = families(characters)
    log = logging.getLogger("matplotlib.font_manager")
    previous_level = log.level
    with mpl.rc_context({**STYLE, "font.family": fonts}), warnings.catch_warnings():
        if missing:  # a note on the figure reports it
            warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        log.setLevel(logging.ERROR)  # it warns about every font without a bold face
        try:
            yield missing
        finally:
            log.setLevel(previous_level)


def new_figure(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """Create a figure one column wide and `height` inches tall; return it and its axes by rows."""
    figure = Figure(figsize=(WIDTH, min(height, TALLEST)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(np.ravel(axes))


def new_canvas(height: float) -> tuple[Figure, Axes]:
    """Create a blank figure one column wide and `height` inches tall.

    Its axes fill the figure and are in inches from the top left corner.
    """
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(height, 0), autoscale_on=False)
    axes.set_axis_off()
    return figure, axes


def write_row(axes: Axes, text: str, height: float) -> None:
    """Write the label of a plot's row across the figure, at `height` on the y-axis."""
    axes.annotate(
        text, (0.012, height), xycoords=("figure fraction", "data"), fontsize=SMALL, va="center",
        color=DARK, annotation_clip=False, zorder=5,
        bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.6},
    ).set_in_layout(False)  # fmt: skip


def add_mark(figure: Figure, marks: Sequence[str]) -> None:
    """Write warnings above a figure."""
    if not marks:
        return
    text = "\n".join(textwrap.wrap(" · ".join(marks), _LINE_CHARACTERS))
    kwargs: dict[str, Any] = {"ha": "left", "fontsize": SMALL, "color": MARKED}
    if figure.get_layout_engine() is None:
        figure.text(0.012, 1 - 0.03 / figure.get_figheight(), text, va="top", **kwargs)
    else:
        figure.suptitle(text, x=0.012, **kwargs)


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write NAME.svg and NAME.png; return the path of the PNG file."""
    # Lay out once for both files; otherwise Matplotlib would lay out and render twice for each.
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    for suffix in (".svg", ".png"):
        with replacing(folder / f"{name}{suffix}") as temporary:
            # No date, so that the same records give the same bytes.
            metadata = {"Date": None} if suffix == ".svg" else {"Software": None}
            figure.savefig(temporary, format=suffix[1:], dpi="figure", metadata=metadata)
    return folder / f"{name}.png"


def rendered_png(figure: Figure) -> bytes:
    """Render a figure; return the bytes of a PNG file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi="figure", metadata={"Software": None})
    return stream.getvalue()


def log_scaled(
    axis: Axis, values: npt.ArrayLike, most: int, formatter: Formatter | None = None
) -> None:
    """Label a logarithmic axis with plain numbers, at most `most` of them within the values.

    Matplotlib's default labels, such as 6 x 10^-1, would overlap.
    """
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers) & (numbers > 0)]
    for steps in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        ticks = np.outer(10.0 ** np.arange(-12, 16), steps)
        if ((ticks >= numbers.min()) & (ticks <= numbers.max())).sum() <= most:
            break
    axis.set_major_locator(LogLocator(subs=steps, numticks=most if steps == (1.0,) else None))
    axis.set_major_formatter(formatter or FuncFormatter(_plain_number))
    axis.set_minor_formatter(NullFormatter())


def _plain_number(value: float, position: int | None = None) -> str:
    """Format a tick as 0.001, or as 1e-6 rather than 1e-06."""
    return f"{value:g}".replace("e-0", "e-")


def limits(values: npt.ArrayLike, metric: str) -> tuple[float, float]:
    """Return axis limits that enclose the values of a metric and stay within the metric's range."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    margin = max(0.06 * (high - low), 0.01)
    low, high = max(0.0, low - margin), high + margin
    return (low, min(1.0, high)) if without_split(metric) in _BOUNDED else (low, high)


def short_label(value: Value) -> str:
    """Format a hyperparameter's value as a short label."""
    return format_value(value).removeprefix("timm:")


def truncate(text: str, characters: int) -> str:
    """Shorten a text to at most `characters`, with three dots at the end if it was cut."""
    return text if len(text) <= characters else text[: characters - 3].rstrip() + "..."


def key(color: str, label: str, **options: Any) -> Line2D:
    """Return a legend entry: a line, unless `options` specify another style."""
    return Line2D([], [], color=color, label=label, **options)


def dot(color: str, label: str, marker: str = "o", **options: Any) -> Line2D:
    """Return a legend entry: a dot."""
    return Line2D([], [], color=color, label=label, marker=marker, linestyle="", **options)
