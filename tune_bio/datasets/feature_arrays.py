"""Stored features: the output of a network's frozen part, used in place of the pixels."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Shape = tuple[int, ...]
Features = npt.NDArray[np.float32 | np.float16]


@dataclass(frozen=True)
class FeatureCut:
    """The point at which a network's frozen part ends.

    modules: names of the largest frozen modules, in the order in which they run; the output of
        the last module is stored.
    shapes: output shape of each module for one image.
    image: shape of an input image, (channels, S, S).
    channels_last: True if the last module's output is in channels_last memory format; it is stored
        in that order.
    """

    modules: tuple[str, ...]
    shapes: tuple[Shape, ...]
    image: Shape
    channels_last: bool

    @property
    def row(self) -> Shape:
        """The shape in which the features of one image are stored."""
        shape = self.shapes[-1]
        return (*shape[1:], shape[0]) if self.channels_last else shape

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "FeatureCut":
        """Build a cut from the output of `to_json`.

        Raises:
            KeyError, TypeError: `stored` does not describe a cut.
        """
        return cls(
            tuple(stored["modules"]),
            tuple(tuple(shape) for shape in stored["shapes"]),
            tuple(stored["image"]),
            bool(stored["channels_last"]),
        )
