"""tune_bio: hyperparameter search for biomedical image classifiers.

What a search-space file needs is imported here and costs nothing; what needs PyTorch is
imported when it is first asked for.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from tune_bio.config import SearchSettings, TrialConfig
from tune_bio.errors import TuneBioError
from tune_bio.space import Trial

if TYPE_CHECKING:
    from tune_bio.bundle import TrainedModel, load_model

__version__ = version("tune_bio")
__all__ = [
    "SearchSettings",
    "TrainedModel",
    "Trial",
    "TrialConfig",
    "TuneBioError",
    "__version__",
    "load_model",
]


def __getattr__(name: str) -> Any:
    if name in {"load_model", "TrainedModel"}:
        from tune_bio import bundle

        return getattr(bundle, name)
    raise AttributeError(f"module 'tune_bio' has no attribute {name!r}")
