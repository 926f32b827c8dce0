"""What has to be set before Ray and PyTorch are imported; so this knows neither."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DEFAULTS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # 0.25 s a trial for files that nobody reads
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Ray's own state is never restored
    "RAY_USAGE_STATS_ENABLED": "0",  # a hospital's machine tells nobody what it does
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}


def prepare_environment(address: str | None = None) -> None:
    """Set what is not set yet; to be called before the first `import ray`.

    A cluster at `address` that was started on a machine with a token asks for it. Ray offers it
    by itself only to the clusters that it starts.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if address is not None and token_path().is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


@contextmanager
def importing() -> Iterator[None]:
    """Keep the garbage collector from what is imported inside the block, now and at the end.

    PyTorch's and Ray's modules are a million objects that live as long as the process. Looking
    through them again and again takes a quarter of the time of their import, and seconds at exit.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def token_path() -> Path:
    """Where Ray keeps the token that clusters and their dashboards ask for."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
