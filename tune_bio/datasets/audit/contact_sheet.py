"""Draw a contact sheet of the findings of an audit: copies side by side, to judge by eye.

Images of the test split are never drawn: next to an image of another split, only the name of the
test image is shown.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tune_bio.common.files import replacing
from tune_bio.datasets.audit.audited_images import SEALED
from tune_bio.datasets.audit.defects import CONSTANT, OVERSIZED
from tune_bio.datasets.audit.exact_copies import COPIES_WITHIN, OTHER_LABELS
from tune_bio.datasets.audit.findings import COPIES_ACROSS, AffectedImage, Audit, Finding, Group
from tune_bio.datasets.audit.near_copies import NEAR_ACROSS, NEAR_WITHIN
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.pixels import Pixels
from tune_bio.datasets.transforms.geometry import Geometry

KINDS = (
    COPIES_ACROSS, NEAR_ACROSS, OTHER_LABELS, NEAR_WITHIN, COPIES_WITHIN, CONSTANT, OVERSIZED,
)  # fmt: skip
TITLES = {
    COPIES_ACROSS: "exact copies across splits",
    NEAR_ACROSS: "look the same across splits",
    OTHER_LABELS: "copies with different labels",
    NEAR_WITHIN: "look the same within a split",
    COPIES_WITHIN: "exact copies within a split",
    CONSTANT: "same value in every pixel",
    OVERSIZED: "much larger than the others",
}
MAX_GROUPS, PAIRS_PER_LINE = 8, 2
_IMAGE, _TITLE, _CAPTION = 2.0, 0.35, 0.6  # in inches: an image's side, and heights of texts
_WIDTHS, _COLUMNS = (1, 1, 0.2, 1, 1), (0, 1, 3, 4)  # of all columns; the columns of images
_CHARACTERS = 32  # per line of a name, which has two lines


@dataclass(frozen=True)
class _Section:
    finding: Finding
    groups: tuple[Group, ...]


def save_contact_sheet(path: Path, audit: Audit, dataset: Dataset, geometry: Geometry) -> bool:
    """Draw a PNG of some images of each finding; return False if there is nothing to draw.

    Args:
        path: the path of the PNG.
        audit: an audit of `dataset`.
        dataset: the data set whose images are drawn.
        geometry: the geometry at which images are drawn; preferably that of the audit, for which
            they are cached.
    """
    sections = list(_sections(audit))
    if not sections:
        return False
    names = {image.name for s in sections for group in s.groups for image in group[:2]}
    pixels = _pixels_by_name(dataset, names, geometry)
    figure = _draw_figure(sections, pixels)
    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, facecolor="white")
    return True


def _sections(audit: Audit) -> Iterator[_Section]:
    for kind in KINDS:
        finding = audit.of(kind)
        if finding is None:
            continue
        groups = [_drawable_first(group) for group in finding.groups if _is_drawable(group)]
        if groups:
            yield _Section(finding, tuple(groups[:MAX_GROUPS]))


def _is_drawable(group: Group) -> bool:
    return any(image.split != SEALED for image in group)


def _drawable_first(group: Group) -> Group:
    """Put an image that may be drawn first, then images of other splits, then the rest."""
    first = next(image for image in group if image.split != SEALED)
    others = [image for image in group if image is not first]
    return (first, *sorted(others, key=lambda image: image.split == first.split))


def _pixels_by_name(dataset: Dataset, names: set[str], geometry: Geometry) -> dict[str, Pixels]:
    """Read the images with these names, without those of the test split."""
    pixels: dict[str, Pixels] = {}
    for split, images in dataset.splits.items():
        if split == SEALED:
            continue
        positions = np.flatnonzero(np.isin(images.names, list(names)))
        selected = images.take(positions)
        if len(selected):
            pixels.update(zip(selected.names.tolist(), selected.at(geometry), strict=True))
    return pixels


def _draw_figure(sections: list[_Section], pixels: Mapping[str, Pixels]) -> Figure:
    heights = [
        height
        for section in sections
        for height in (_TITLE, *[_IMAGE + _CAPTION] * _line_count(section))
    ]
    figure = Figure(figsize=(sum(_WIDTHS) * _IMAGE * 1.08, sum(heights) + 0.2))
    grid = figure.add_gridspec(
        len(heights), len(_WIDTHS), height_ratios=heights, width_ratios=_WIDTHS,
        left=0.02, right=0.98, top=1 - 0.1 / (sum(heights) + 0.2), bottom=0,
        hspace=0, wspace=0.06,
    )  # fmt: skip
    row = 0
    for section in sections:
        title = figure.add_subplot(grid[row, :])
        title.axis("off")
        text = f"{TITLES[section.finding.kind]} ({_shown_of_all(section)})"
        title.text(0, 0.35, text, fontsize=11, weight="bold", va="center")
        for k, group in enumerate(section.groups):
            line, place = divmod(k, _groups_per_line(section))
            for side, image in enumerate(group[:2]):
                column = place * (len(_COLUMNS) // _groups_per_line(section)) + side
                cell = grid[row + 1 + line, _COLUMNS[column]].subgridspec(
                    2, 1, height_ratios=(_IMAGE, _CAPTION), hspace=0
                )
                _draw_image(figure.add_subplot(cell[0]), image, pixels)
                more = len(group) - 2 if side == 1 else 0
                _write_caption(figure.add_subplot(cell[1]), image, more)
        row += 1 + _line_count(section)
    return figure


def _groups_per_line(section: _Section) -> int:
    """Return the number of groups on one line: twice as many if they are single images."""
    return PAIRS_PER_LINE * (1 if max(map(len, section.groups)) > 1 else 2)


def _line_count(section: _Section) -> int:
    return -(-len(section.groups) // _groups_per_line(section))


def _shown_of_all(section: _Section) -> str:
    shown, total = len(section.groups), len(section.finding.groups)
    return f"{shown} of {total}" if shown < total else str(total)


def _draw_image(axes: Axes, image: AffectedImage, pixels: Mapping[str, Pixels]) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    if image.split == SEALED:
        axes.set_facecolor("#eeeeee")
        axes.set_box_aspect(1)
        axes.text(
            0.5, 0.5, "test image,\nnot shown", ha="center", va="center", fontsize=9,
            color="#555555", transform=axes.transAxes,
        )  # fmt: skip
        return
    values = pixels[image.name]
    grey = values.shape[2] == 1
    white = 255 if values.dtype == np.uint8 else max(int(values.max()), 1)
    if grey:
        axes.imshow(values[..., 0], cmap="gray", vmin=0, vmax=white)
    else:
        axes.imshow(np.clip(values / white, 0, 1))


def _write_caption(axes: Axes, image: AffectedImage, more: int) -> None:
    axes.axis("off")
    name = "\n".join(_wrap_name(image.name))
    details = ", ".join(filter(None, (image.split, image.detail)))
    if more:
        details += f" (+{more} more)"
    axes.text(0.5, 0.95, f"{name}\n{details}", ha="center", va="top", fontsize=7.5)


def _wrap_name(name: str) -> list[str]:
    """Break a path into at most two lines; of a longer path, keep the end, which has the name."""
    if len(name) > 2 * _CHARACTERS:
        name = "..." + name[3 - 2 * _CHARACTERS :]
    return [name[start : start + _CHARACTERS] for start in range(0, len(name), _CHARACTERS)]
