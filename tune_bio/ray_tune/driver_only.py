"""Objects that stay in the driver although Tune insists on pickling them."""

from typing import Any, Self

from ray.tune.search import Searcher


class DriverOnly:
    """Base of searchers and callbacks, which Tune pickles to resume by itself: pickled empty.

    Tune's own resume is never used (the records are the truth), and its file would have to hold
    consoles, Optuna studies and functions of the user's file.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class StudySearcher(DriverOnly, Searcher):
    """A searcher whose state is in the records: Tune does not save it."""

    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
        return True

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the records are the truth, and Ray's state is never restored."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a study is resumed from its records")
