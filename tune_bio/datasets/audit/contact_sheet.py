"""A contact sheet of what an audit found: copies side by side, for the eye to judge.

Images of the test split are never drawn: beside an image of another split stands the test image's
name alone.
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
    OTHER_LABELS: "copies with other labels",
    NEAR_WITHIN: "look the same within a split",
    COPIES_WITHIN: "exact copies within a split",
    CONSTANT: "one value in every pixel",
    OVERSIZED: "much larger than the others",
}
MOST_OF_A_KIND, PAIRS_A_LINE = 8, 2
_INCH, _TITLE, _NAME = 2.0, 0.35, 0.6  # an image, the line over a kind, the names below an image
_WIDTHS, _IMAGES = (1, 1, 0.2, 1, 1), (0, 1, 3, 4)  # columns, and those of images: two pairs
_CHARACTERS = 32  # of a name on one line, of two


@dataclass(frozen=True)
class _Section:
    finding: Finding
    groups: tuple[Group, ...]


def save_contact_sheet(path: Path, audit: Audit, dataset: Dataset, geometry: Geometry) -> bool:
    """Draw a PNG of some images of each finding; False where there is nothing to draw.

    Args:
        path: of the PNG.
        audit: of `dataset`.
        dataset: from which the images are taken.
        geometry: at which they are drawn; best the one of the audit, which the cache holds.
    """
    sections = list(_sections(audit))
    if not sections:
        return False
    wanted = {each.name for s in sections for group in s.groups for each in group[:2]}
    pixels = _pixels(dataset, wanted, geometry)
    figure = _drawn(sections, pixels)
    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, facecolor="white")
    return True


def _sections(audit: Audit) -> Iterator[_Section]:
    for kind in KINDS:
        found = audit.of(kind)
        if found is None:
            continue
        groups = [_shown_first(group) for group in found.groups if _may_be_shown(group)]
        if groups:
            yield _Section(found, tuple(groups[:MOST_OF_A_KIND]))


def _may_be_shown(group: Group) -> bool:
    return any(affected_image.split != SEALED for affected_image in group)


def _shown_first(group: Group) -> Group:
    """An image that may be seen, then one of another split if there is one, then the rest."""
    first = next(affected_image for affected_image in group if affected_image.split != SEALED)
    others = [affected_image for affected_image in group if affected_image is not first]
    return (first, *sorted(others, key=lambda affected_image: affected_image.split == first.split))


def _pixels(dataset: Dataset, names: set[str], geometry: Geometry) -> dict[str, Pixels]:
    """The images of these names, but for those of the test split."""
    found: dict[str, Pixels] = {}
    for split, images in dataset.splits.items():
        if split == SEALED:
            continue
        where = np.flatnonzero(np.isin(images.names, list(names)))
        chosen = images.take(where)
        if len(chosen):
            found.update(zip(chosen.names.tolist(), chosen.at(geometry), strict=True))
    return found


def _drawn(sections: list[_Section], pixels: Mapping[str, Pixels]) -> Figure:
    heights = [
        height for section in sections for height in (_TITLE, *[_INCH + _NAME] * _lines(section))
    ]
    figure = Figure(figsize=(sum(_WIDTHS) * _INCH * 1.08, sum(heights) + 0.2))
    grid = figure.add_gridspec(
        len(heights), len(_WIDTHS), height_ratios=heights, width_ratios=_WIDTHS,
        left=0.02, right=0.98, top=1 - 0.1 / (sum(heights) + 0.2), bottom=0,
        hspace=0, wspace=0.06,
    )  # fmt: skip
    row = 0
    for section in sections:
        title = figure.add_subplot(grid[row, :])
        title.axis("off")
        text = f"{TITLES[section.finding.kind]} ({_how_many(section)})"
        title.text(0, 0.35, text, fontsize=11, weight="bold", va="center")
        for k, group in enumerate(section.groups):
            line, pair = divmod(k, _pairs_a_line(section))
            for side, affected_image in enumerate(group[:2]):
                column = pair * (len(_IMAGES) // _pairs_a_line(section)) + side
                cell = grid[row + 1 + line, _IMAGES[column]].subgridspec(
                    2, 1, height_ratios=(_INCH, _NAME), hspace=0
                )
                _draw(figure.add_subplot(cell[0]), affected_image, pixels)
                more = len(group) - 2 if side == 1 else 0
                _write(figure.add_subplot(cell[1]), affected_image, more)
        row += 1 + _lines(section)
    return figure


def _pairs_a_line(section: _Section) -> int:
    """Groups on one line: pairs, or twice as many single images."""
    return PAIRS_A_LINE * (1 if max(map(len, section.groups)) > 1 else 2)


def _lines(section: _Section) -> int:
    return -(-len(section.groups) // _pairs_a_line(section))


def _how_many(section: _Section) -> str:
    shown, found = len(section.groups), len(section.finding.groups)
    return f"{shown} of {found}" if shown < found else str(found)


def _draw(axes: Axes, affected_image: AffectedImage, pixels: Mapping[str, Pixels]) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    if affected_image.split == SEALED:
        axes.set_facecolor("#eeeeee")
        axes.set_box_aspect(1)
        axes.text(
            0.5, 0.5, "test image,\nnot shown", ha="center", va="center", fontsize=9,
            color="#555555", transform=axes.transAxes,
        )  # fmt: skip
        return
    image = pixels[affected_image.name]
    grey = image.shape[2] == 1
    top = 255 if image.dtype == np.uint8 else max(int(image.max()), 1)
    if grey:
        axes.imshow(image[..., 0], cmap="gray", vmin=0, vmax=top)
    else:
        axes.imshow(np.clip(image / top, 0, 1))


def _write(axes: Axes, affected_image: AffectedImage, more: int) -> None:
    axes.axis("off")
    told = "\n".join(_broken(affected_image.name))
    beneath = ", ".join(filter(None, (affected_image.split, affected_image.detail)))
    if more:
        beneath += f" (+{more} more)"
    axes.text(0.5, 0.95, f"{told}\n{beneath}", ha="center", va="top", fontsize=7.5)


def _broken(name: str) -> list[str]:
    """A path on two lines at most, broken anywhere; of a longer one the end, which names it."""
    if len(name) > 2 * _CHARACTERS:
        name = "..." + name[3 - 2 * _CHARACTERS :]
    return [name[start : start + _CHARACTERS] for start in range(0, len(name), _CHARACTERS)]
