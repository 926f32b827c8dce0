"""The figures of a study's folder, as data that a page can hold."""

import base64
from dataclasses import dataclass
from pathlib import Path

# In this order, each with what to see; a figure that is not listed comes last.
CAPTIONS = {
    "settings": "What was confirmed, a dot a seed, beside noise and controls.",
    "comparisons": "The winner against the others, with intervals.",
    "roc_pr": "ROC and precision-recall curves of the winner.",
    "confusion": "True and predicted classes, at the operating point.",
    "calibration": "Predicted probabilities against what was observed.",
    "importances": "What goes with the best scores of the search; it says nothing of causes.",
    "parallel_coordinates": "Every trial across all hyperparameters that varied.",
    "cost": "What a better score costs.",
    "trials_over_time": "When each trial ran and how it ended, and the best value so far.",
    "inputs": "Images as the network sees them, by class and split.",
    "most_wrong": "The images that the winner is most surely wrong on.",
    "network": "The best network: its layers, what comes out of each, and its parameters.",
}
# What the page draws by itself; these stand in where it cannot: on paper, and without scripts.
STATIC = {
    "learning_curves": "Learning curves of every trial.",
    "hyperparameters": "The score against each hyperparameter that varied.",
}
LARGEST, LARGEST_IN_ALL = 600_000, 1_500_000  # bytes


@dataclass(frozen=True)
class Embedded:
    """A figure: its name, a sentence, its PNG as a data URI."""

    name: str
    caption: str
    uri: str


def gallery(folder: Path) -> tuple[list[Embedded], dict[str, Embedded], list[str]]:
    """The PNG files of a folder: those to show, those to stand in, and those that are too large."""
    listed = [*STATIC, *CAPTIONS]
    found = {path.stem: path for path in sorted(folder.glob("*.png"))}
    names = [*(n for n in listed if n in found), *(n for n in found if n not in listed)]
    shown, static, left, total = [], {}, [], 0
    for name in names:
        size = found[name].stat().st_size
        if size > LARGEST or total + size > LARGEST_IN_ALL:
            left.append(found[name].name)
            continue
        total += size
        uri = "data:image/png;base64," + base64.b64encode(found[name].read_bytes()).decode()
        caption = {**CAPTIONS, **STATIC}.get(name, f"{name.replace('_', ' ').capitalize()}.")
        embedded = Embedded(name, caption, uri)
        if name in STATIC:
            static[name] = embedded
        else:
            shown.append(embedded)
    return shown, static, left
