"""Pretrained weights in a model: read from a published file, cut, and brought to an image size."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import nn

from tune_bio.errors import WeightsError
from tune_bio.models.classifier import load_over
from tune_bio.models.meta_device import on_meta_device
from tune_bio.models.weights.published import WeightsFile
from tune_bio.models.zoo import registry

Arrays = dict[str, npt.NDArray[np.generic]]


def load_backbone(model: str, file: WeightsFile) -> Arrays:
    """The backbone's state from a file of published weights, as arrays ready to be shared.

    They are at the image size for which they were published; `fit_backbone` brings them to
    another. No network is filled with numbers here, so that a large one costs nothing.

    Raises:
        WeightsError: the file is damaged, or its tensors are another network's.
    """
    state = _read(file)
    size = registry.published_size(model, state)
    with on_meta_device():
        network = registry.build(model, size)
    wanted = network.state_dict(keep_vars=True)
    try:
        state = _by_name(registry.adapt(model, network, state), wanted)
        with on_meta_device():
            backbone = registry.replace_head(model, network, size, 2, 0.0).backbone
        published_name = {id(tensor): name for name, tensor in wanted.items()}
        arrays = {}
        for name, tensor in backbone.state_dict(keep_vars=True).items():
            found = state[published_name[id(tensor)]]
            if found.shape != tensor.shape:
                raise ValueError(f"{name} has the shape {tuple(found.shape)}")
            arrays[name] = found.to(tensor.dtype).numpy()
    except (KeyError, ValueError, RuntimeError, AttributeError) as error:
        raise WeightsError(
            f"{file.path} holds the weights of another network ({error})",
            "take it away, or give the right one",
        ) from error
    return arrays


def as_tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    """A backbone's state as tensors of its own: arrays in the object store are read-only."""
    return {name: torch.tensor(array) for name, array in arrays.items()}


def fit_backbone(model: str, backbone: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Load a backbone's pretrained state, its positions brought to the backbone's image size."""
    adapted = registry.adapt(model, backbone, dict(state))
    missing = backbone.state_dict().keys() - adapted.keys()
    if missing:
        raise ValueError(f"no pretrained {min(missing)} for {model}")
    load_over(backbone, adapted)


def _by_name(
    state: dict[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    if set(state) == set(wanted):
        return state
    # The same network under other names: the tensors must match one by one, in order.
    pairs = list(zip(wanted, state.values(), strict=True))
    if any(tensor.shape != wanted[name].shape for name, tensor in pairs):
        raise ValueError("its tensors differ in name and shape")
    return dict(pairs)


def _read(file: WeightsFile) -> dict[str, torch.Tensor]:
    try:
        if file.path.suffix == ".safetensors":
            return safetensors.torch.load_file(file.path)
        state: dict[str, torch.Tensor] = torch.load(
            file.path, map_location="cpu", weights_only=True
        )
        for key in ("state_dict", "model"):  # whole checkpoints hold the weights under one of these
            state = state.get(key, state)  # type: ignore[assignment]
        if not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
            raise TypeError("it is no dictionary of tensors")
    except Exception as error:  # a damaged file raises whatever its bytes lead to
        first = str(error).strip().splitlines()[:1]
        raise WeightsError(
            f"{file.path} cannot be read as weights ({' '.join(first)})",
            "delete the file, so that it is fetched again, or give another",
        ) from error
    return state
