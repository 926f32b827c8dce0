"""Environment variables to set before Ray and PyTorch are imported; this imports neither."""

import os
from pathlib import Path

_DEFAULTS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # 0.25 s per trial for files that nobody reads
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Ray's own state is never restored
    "RAY_USAGE_STATS_ENABLED": "0",  # a hospital's machine reports to nobody
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}


def prepare_environment(address: str | None = None) -> None:
    """Set the variables that are not set yet; call this before the first `import ray`.

    A cluster that was started on a machine with a token requires it. Ray sends it by itself only to
    clusters that it starts, so for a cluster at `address` the token is enabled here.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if address is not None and token_path().is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def token_path() -> Path:
    """Return the path of the token that clusters and their dashboards require."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
