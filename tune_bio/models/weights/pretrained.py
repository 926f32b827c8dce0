"""Load pretrained weights: read a published file, cut it, adapt it to an image size."""

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
    """Load the backbone's state from a file of published weights, as arrays that can be shared.

    The weights keep their published image size; `fit_backbone` adapts them to another. Networks
    are built on the meta device only, so that a large one costs nothing.

    Raises:
        WeightsError: the file is damaged, or its tensors belong to another network.
    """
    state = _read(file)
    size = registry.published_size(model, state)
    with on_meta_device():
        network = registry.build(model, size)
    expected = network.state_dict(keep_vars=True)
    try:
        state = _by_name(registry.adapt(model, network, state), expected)
        with on_meta_device():
            backbone = registry.replace_head(model, network, size, 2, 0.0).backbone
        published_name = {id(tensor): name for name, tensor in expected.items()}
        arrays = {}
        for name, tensor in backbone.state_dict(keep_vars=True).items():
            weight = state[published_name[id(tensor)]]
            if weight.shape != tensor.shape:
                raise ValueError(f"{name} has the shape {tuple(weight.shape)}")
            arrays[name] = weight.to(tensor.dtype).numpy()
    except (KeyError, ValueError, RuntimeError, AttributeError) as error:
        raise WeightsError(
            f"{file.path} holds the weights of another network ({error})",
            "remove the file, or provide the right one",
        ) from error
    return arrays


def as_tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    """Copy a backbone's state to tensors; arrays in the object store are read-only."""
    return {name: torch.tensor(array) for name, array in arrays.items()}


def fit_backbone(model: str, backbone: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Load a pretrained state into a backbone, adapted to the backbone's image size."""
    adapted = registry.adapt(model, backbone, dict(state))
    missing = backbone.state_dict().keys() - adapted.keys()
    if missing:
        raise ValueError(f"no pretrained {min(missing)} for {model}")
    load_over(backbone, adapted)


def _by_name(
    state: dict[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the state under the expected names."""
    if set(state) == set(expected):
        return state
    # The same network with other names: the tensors must match one by one, in order.
    pairs = list(zip(expected, state.values(), strict=True))
    if any(tensor.shape != expected[name].shape for name, tensor in pairs):
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
            raise TypeError("it is not a dictionary of tensors")
    except Exception as error:  # a damaged file can raise anything
        first_line = str(error).strip().splitlines()[:1]
        raise WeightsError(
            f"{file.path} cannot be read as weights ({' '.join(first_line)})",
            "delete the file so that it is downloaded again, or provide another",
        ) from error
    return state
