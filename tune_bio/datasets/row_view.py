"""Rows of two arrays in a new grouping, read where they lie: a split of what two splits were."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from tune_bio.datasets.pixels import Rows

A = TypeVar("A", bound=np.ndarray[Any, Any])


@dataclass(frozen=True)
class RowView(Generic[A]):
    """Rows of `first` followed by `second`, in the order of `rows`, (n,); nothing is copied."""

    first: A
    second: A
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of both."""
        dtype: np.dtype[Any] = self.first.dtype
        return dtype


def base_array(array: A | RowView[A]) -> A:
    """An array that is no regrouped one; TypeError where it is."""
    if isinstance(array, RowView):
        raise TypeError("rows that were regrouped are no array of their own")
    return array
