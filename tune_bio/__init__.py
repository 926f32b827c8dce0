"""tune_bio: hyperparameter search for biomedical image classifiers.

What a search-space file needs is imported here and costs nothing; what needs PyTorch is
imported when it is first asked for.
"""

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from tune_bio.config import TrialConfig
from tune_bio.errors import TuneBioError
from tune_bio.settings import SearchSettings
from tune_bio.space import Trial

if TYPE_CHECKING:
    from tune_bio.bundle import TrainedModel, load_model
    from tune_bio.evaluation import Evaluation, evaluate
    from tune_bio.notebook import SearchResult, run_search
    from tune_bio.results import Results, load_results

__version__ = version("tune_bio")
__all__ = [
    "Evaluation",
    "Results",
    "SearchResult",
    "SearchSettings",
    "TrainedModel",
    "Trial",
    "TrialConfig",
    "TuneBioError",
    "__version__",
    "evaluate",
    "load_model",
    "load_results",
    "run_search",
]

# What needs PyTorch, Ray or pandas, and where it lies.
_LATE = {
    "Evaluation": "evaluation",
    "Results": "results",
    "SearchResult": "notebook",
    "TrainedModel": "bundle",
    "evaluate": "evaluation",
    "load_model": "bundle",
    "load_results": "results",
    "run_search": "notebook",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(f"tune_bio.{_LATE[name]}"), name)
    raise AttributeError(f"module 'tune_bio' has no attribute {name!r}")
