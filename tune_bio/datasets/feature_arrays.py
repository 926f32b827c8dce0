"""What is kept of images in the place of their pixels: the output of a network's frozen part."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Shape = tuple[int, ...]
Features = npt.NDArray[np.float32 | np.float16]


@dataclass(frozen=True)
class FeatureCut:
    """The end of a network's frozen part.

    modules: the largest frozen modules, by name, as they run; the last one's output is kept.
    shapes: of each one's output for one image.
    image: the shape of an input image, (channels, S, S).
    channels_last: whether the last one's output lies in memory so; it is kept as it lies.
    """

    modules: tuple[str, ...]
    shapes: tuple[Shape, ...]
    image: Shape
    channels_last: bool

    @property
    def row(self) -> Shape:
        """The shape in which one image's features are kept."""
        shape = self.shapes[-1]
        return (*shape[1:], shape[0]) if self.channels_last else shape

    def to_json(self) -> dict[str, Any]:
        """As a dictionary for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "FeatureCut":
        """The inverse of `to_json`; KeyError or TypeError where it is none."""
        return cls(
            tuple(stored["modules"]),
            tuple(tuple(shape) for shape in stored["shapes"]),
            tuple(stored["image"]),
            bool(stored["channels_last"]),
        )
