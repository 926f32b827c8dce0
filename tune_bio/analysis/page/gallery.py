"""The figures in a study's folder, as data that a page can embed."""

import base64
from dataclasses import dataclass
from pathlib import Path

# Captions of the figures, in the order of the page; figures that are not listed come last.
CAPTIONS = {
    "comparisons": "Differences between configurations or levels, with 95 % intervals.",
    "roc_pr": "ROC and precision-recall curves of the winner.",
    "confusion": "True and predicted classes at the operating point.",
    "calibration": "Predicted probabilities against observed frequencies.",
    "importances": "Hyperparameters associated with the best scores, not necessarily causes.",
    "parallel_coordinates": "Every trial across all hyperparameters that varied.",
    "cost": "Score against cost, with the Pareto front.",
    "trials_over_time": "When each trial ran, how it ended, and the best score so far.",
    "inputs": "Images as the network sees them, by class and split.",
    "most_wrong": "The images that the winner misclassified with the highest confidence.",
    "network": "The best network: its layers, their output shapes and their parameters.",
}
# Figures with a place of their own on the page: below the answer, and instead of the interactive
# plots in print and where scripts are disabled.
PLACED = {
    "configurations": "Confirmed configurations, one dot per seed, with noise floor and controls.",
    "learning_curves": "Learning curves of every trial.",
    "hyperparameters": "The score against each hyperparameter that varied.",
}
LARGEST, LARGEST_IN_ALL = 600_000, 1_500_000  # bytes


@dataclass(frozen=True)
class EmbeddedFigure:
    """A figure: its name, its caption and its PNG as a data URI."""

    name: str
    caption: str
    uri: str


def gallery(
    folder: Path,
) -> tuple[list[EmbeddedFigure], dict[str, EmbeddedFigure], list[str]]:
    """Return the figures to show, the placed ones by name, and the files too large to embed."""
    listed = [*PLACED, *CAPTIONS]
    paths = {path.stem: path for path in sorted(folder.glob("*.png"))}
    names = [*(n for n in listed if n in paths), *(n for n in paths if n not in listed)]
    shown, placed, too_large, total = [], {}, [], 0
    for name in names:
        size = paths[name].stat().st_size
        if size > LARGEST or total + size > LARGEST_IN_ALL:
            too_large.append(paths[name].name)
            continue
        total += size
        caption = {**CAPTIONS, **PLACED}.get(name, f"{name.replace('_', ' ').capitalize()}.")
        figure = EmbeddedFigure(name, caption, png_uri(paths[name].read_bytes()))
        if name in PLACED:
            placed[name] = figure
        else:
            shown.append(figure)
    return shown, placed, too_large


def png_uri(png: bytes) -> str:
    """Return the bytes of a PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
