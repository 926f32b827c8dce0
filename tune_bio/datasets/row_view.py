"""Rows selected from two arrays without a copy: a re-split of train and validation."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from tune_bio.datasets.pixels import Rows

A = TypeVar("A", bound=np.ndarray[Any, Any])


@dataclass(frozen=True)
class RowView(Generic[A]):
    """A selection of rows of `first` followed by `second`; nothing is copied.

    rows: (n,) positions in the two arrays laid end to end, in the order of the view.
    """

    first: A
    second: A
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that both arrays share."""
        dtype: np.dtype[Any] = self.first.dtype
        return dtype


def base_array(array: A | RowView[A]) -> A:
    """Return `array` itself; raise TypeError if it is a `RowView`."""
    if isinstance(array, RowView):
        raise TypeError("a RowView is not an array: its rows come from two arrays")
    return array
