"""What has to be set before Ray and PyTorch are imported; so this knows neither."""

import os
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


def token_path() -> Path:
    """Where Ray keeps the token that clusters and their dashboards ask for."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
