"""tune_bio: hyperparameter search for biomedical image classifiers.

Names that a search-space file needs are imported here, at no cost; names that need PyTorch are
imported on first access.
"""

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from tune_bio.errors import TuneBioError
from tune_bio.space.search_space import Trial
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import TrialConfig

if TYPE_CHECKING:
    from tune_bio.api import SearchResult, run_search
    from tune_bio.inference.exported_model import TrainedModel, load_model
    from tune_bio.inference.external_validation import Evaluation, evaluate
    from tune_bio.records.results import Results, load_results

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

# The modules of names that need PyTorch, Ray or pandas.
_LATE = {
    "Evaluation": "inference.external_validation",
    "Results": "records.results",
    "SearchResult": "api",
    "TrainedModel": "inference.exported_model",
    "evaluate": "inference.external_validation",
    "load_model": "inference.exported_model",
    "load_results": "records.results",
    "run_search": "api",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(f"tune_bio.{_LATE[name]}"), name)
    raise AttributeError(f"module 'tune_bio' has no attribute {name!r}")
